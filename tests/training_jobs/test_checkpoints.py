"""Which checkpoints of a running stage are used, and that one is not taken for loaded which is not."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from training_jobs.checkpoints import CheckpointLoadError, Checkpoints, fault_of
from training_jobs.distributed import World

DIGEST = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of b"abc"
HISTORY = {"steps": [], "before": None, "after": None}


def write_checkpoint(directory: Path, **changes: Any) -> Path:
    """A checkpoint of one file, made after 6 steps."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "weights.pt").write_bytes(b"abc")
    files = {"weights.pt": {"bytes": 3, "sha256": DIGEST}}
    state = {"steps_done": 6, "fingerprint": "one", "files": files, "history": HISTORY} | changes
    stated = {key: value for key, value in state.items() if value is not None}
    (directory / "state.json").write_text(json.dumps(stated))
    return directory


def test_a_checkpoint_of_something_else_or_with_a_changed_byte_is_not_used(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    assert fault_of(tmp_path, "one") is None
    assert "other hyper-parameters, start weights" in str(fault_of(tmp_path, "two"))
    (tmp_path / "weights.pt").write_bytes(b"abd")
    assert "has changed" in str(fault_of(tmp_path, "one"))
    (tmp_path / "weights.pt").write_bytes(b"ab")
    assert fault_of(tmp_path, "one") == "weights.pt has 2 bytes, 3 were written"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"files": None}, "files: Field required"),
        ({"fingerprint": None}, "fingerprint: Field required"),
        ({"history": {**HISTORY, "steps": [{"step": 1}]}}, r"history.steps.0"),
    ],
)
def test_a_state_that_lacks_something_is_a_fault_and_no_crash(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    fault = str(fault_of(write_checkpoint(tmp_path, **changes), "one"))
    assert fault.startswith("state.json cannot be read")
    assert said in fault


def test_a_state_that_is_no_json_or_is_not_there_is_a_fault(tmp_path: Path) -> None:
    assert "state.json cannot be read" in str(fault_of(tmp_path, "one"))
    (tmp_path / "state.json").write_text('{"steps')
    assert "state.json cannot be read" in str(fault_of(tmp_path, "one"))


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoints:
    """Those of a stage with one checkpoint, ``step-000006``."""
    write_checkpoint(tmp_path / "step-000006")
    monkeypatch.setattr(World, "from_first", lambda self, value: value)
    world = World(0, 1, torch.device("cpu"), is_bfloat16=False)
    return Checkpoints(tmp_path, 2, "one", world, lambda line: None)


def engine(loaded: str | None, *steps: int) -> Any:
    """A DeepSpeed engine as far as loading goes: what it says it loaded, and what its optimizer counts after that."""

    def load(*_: Any, **__: Any) -> tuple[str | None, dict[str, Any]]:
        return loaded, {}

    state = {index: {"step": torch.tensor(float(step))} for index, step in enumerate(steps)}
    return SimpleNamespace(
        load_checkpoint=load, optimizer=SimpleNamespace(optimizer=SimpleNamespace(state=state))
    )


def test_what_was_loaded_is_what_was_asked_for(checkpoints: Checkpoints) -> None:
    resumed = checkpoints.load_newest(engine("path", 6, 6))
    assert resumed is not None
    assert (resumed.name, resumed.step) == ("step-000006", 6)


@pytest.mark.parametrize(
    ("loaded", "steps", "said"),
    [
        (None, (6,), "DeepSpeed has loaded nothing"),
        ("path", (5, 6), r"optimizer counts \[5, 6\] steps, the checkpoint was made after 6"),
        ("path", (), r"optimizer counts \[\] steps"),
    ],
)
def test_a_checkpoint_that_was_not_restored_is_an_error(
    checkpoints: Checkpoints, loaded: str | None, steps: tuple[int, ...], said: str
) -> None:
    with pytest.raises(CheckpointLoadError, match=said):
        checkpoints.load_newest(engine(loaded, *steps))
