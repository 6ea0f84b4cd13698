"""Which checkpoints of a running stage are used and kept, and that one is not taken for loaded which is not."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from training_jobs.checkpoint_files import usable_state
from training_jobs.checkpoints import (
    CheckpointLoadError,
    Checkpoints,
    CheckpointSaveError,
    milestone_steps,
)
from training_jobs.distributed import World
from training_jobs.elastic import RanksChangedError
from training_jobs.history import History

DIGEST = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of b"abc"
HISTORY = {"steps": [], "before": None, "after": None}
NO_ROOM = OSError(errno.ENOSPC, "No space left on device")


class Alone(World):
    """The only rank, without any process group."""

    def from_first(self, value: Any) -> Any:
        return value

    from_first_patiently = from_first

    def all_values(self, value: Any) -> list[Any]:
        return [value]

    def barrier(self) -> None:
        pass


class Engine:
    """A DeepSpeed engine as far as saving goes: it writes ``abc``, or raises what it is told to."""

    def __init__(self) -> None:
        self.checkpoint_engine = SimpleNamespace(save=self._write)
        self.fault: Exception | None = None
        self.meetings = 0

    def save_checkpoint(self, directory: Path, tag: str, **_: Any) -> None:
        self.checkpoint_engine.save({}, str(directory / tag / "weights.pt"))
        self._copy_recovery_script(directory)
        self.meetings += 1

    def _copy_recovery_script(self, directory: Path) -> None:
        raise NO_ROOM

    def _write(self, state: dict[str, Any], path: str) -> None:
        Path(path).write_bytes(b"abc")
        if self.fault is not None:
            raise self.fault


def write_checkpoint(directory: Path, **changes: Any) -> Path:
    """A checkpoint of one file, made after 6 steps."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "weights.pt").write_bytes(b"abc")
    files = {"weights.pt": {"bytes": 3, "sha256": DIGEST}}
    state = {
        "steps_done": 6,
        "fingerprint": "one",
        "world_size": 1,
        "zero_stage": 2,
        "files": files,
        "history": HISTORY,
    } | changes
    stated = {key: value for key, value in state.items() if value is not None}
    (directory / "state.json").write_text(json.dumps(stated))
    return directory


def checkpoints_of(directory: Path, lines: list[str] | None = None, **changes: Any) -> Checkpoints:
    world = Alone(0, 1, torch.device("cpu"), is_bfloat16=False)
    log = (lines if lines is not None else []).append
    return Checkpoints(directory, 2, "one", world, log, **{"zero_stage": 2, **changes})


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_checkpoint_of_something_else_or_with_a_changed_byte_is_not_used(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    assert not isinstance(usable_state(tmp_path, "one"), str)
    assert "other hyper-parameters, start weights" in str(usable_state(tmp_path, "two"))
    (tmp_path / "weights.pt").write_bytes(b"abd")
    assert "has changed" in str(usable_state(tmp_path, "one"))
    (tmp_path / "weights.pt").write_bytes(b"ab")
    assert usable_state(tmp_path, "one") == "weights.pt has 2 bytes, 3 were written"


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
    fault = usable_state(write_checkpoint(tmp_path, **changes), "one")
    assert isinstance(fault, str)
    assert fault.startswith("state.json cannot be read")
    assert said in fault


def test_a_state_that_is_no_json_or_is_not_there_is_a_fault(tmp_path: Path) -> None:
    assert "state.json cannot be read" in str(usable_state(tmp_path, "one"))
    (tmp_path / "state.json").write_text('{"steps')
    assert "state.json cannot be read" in str(usable_state(tmp_path, "one"))


def engine(loaded: str | None, *steps: int) -> Any:
    """A DeepSpeed engine as far as loading goes: what it says it loaded, and what its optimizer counts after that."""

    def load(*_: Any, **__: Any) -> tuple[str | None, dict[str, Any]]:
        return loaded, {}

    state = {index: {"step": torch.tensor(float(step))} for index, step in enumerate(steps)}
    return SimpleNamespace(
        load_checkpoint=load, optimizer=SimpleNamespace(optimizer=SimpleNamespace(state=state))
    )


def test_what_was_loaded_is_what_was_asked_for(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "step-000006")
    checkpoints = checkpoints_of(tmp_path)
    found = checkpoints.peek()
    assert found is not None
    assert (found.name, found.world_size, found.load_config) == ("step-000006", 1, {})
    resumed = checkpoints.load(engine("path", 6, 6), found)
    assert (resumed.name, resumed.step, checkpoints.newest_good) == ("step-000006", 6, "step-000006")


@pytest.mark.parametrize(
    ("loaded", "steps", "said"),
    [
        (None, (6,), "DeepSpeed has loaded nothing"),
        ("path", (5, 6), r"optimizer counts \[5, 6\] steps, the checkpoint was made after 6"),
        ("path", (), r"optimizer counts \[\] steps"),
    ],
)
def test_a_checkpoint_that_was_not_restored_is_an_error(
    tmp_path: Path, loaded: str | None, steps: tuple[int, ...], said: str
) -> None:
    write_checkpoint(tmp_path / "step-000006")
    checkpoints = checkpoints_of(tmp_path)
    found = checkpoints.peek()
    assert found is not None
    with pytest.raises(CheckpointLoadError, match=said):
        checkpoints.load(engine(loaded, *steps), found)


def test_half_written_ones_are_gone_before_the_next_is_looked_for(tmp_path: Path) -> None:
    for left in (".saving", ".converted"):
        write_checkpoint(tmp_path / left / "step-000006")
    assert checkpoints_of(tmp_path).peek() is None
    assert names(tmp_path) == []


@pytest.mark.parametrize(("written_under", "now"), [(3, 2), (2, 3), (3, 3)])
def test_other_ranks_under_stage_3_are_refused_with_what_to_do(
    tmp_path: Path, written_under: int, now: int
) -> None:
    write_checkpoint(tmp_path / "step-000006", world_size=4, zero_stage=written_under)
    with pytest.raises(
        RanksChangedError,
        match=rf"step-000006 was written by 4 ranks under ZeRO stage {written_under}, these are 1 under "
        rf"stage {now}\..*set processes: 4 and zero_stage: {written_under}, or remove",
    ):
        checkpoints_of(tmp_path, zero_stage=now).peek()


def test_the_same_ranks_go_on_under_stage_3(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "step-000006", zero_stage=3)
    found = checkpoints_of(tmp_path, zero_stage=3).peek()
    assert found is not None
    assert found.load_config == {}


def test_no_room_to_lay_a_checkpoint_out_anew_is_said_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path / "step-000006", world_size=4)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=6))
    with pytest.raises(RanksChangedError, match="takes 7 bytes for a while, and 6 are free"):
        checkpoints_of(tmp_path).peek()


def test_the_last_two_and_every_tenth_of_the_way_are_kept(tmp_path: Path) -> None:
    milestones = milestone_steps(40)
    assert milestones == {4, 8, 12, 16, 20, 24, 28, 32, 36}
    checkpoints = checkpoints_of(tmp_path, milestones=milestones)
    for step in range(1, 12):
        assert checkpoints.save(Engine(), step, History())
    assert names(tmp_path) == ["step-000004", "step-000008", "step-000010", "step-000011"]


@pytest.mark.parametrize("steps", [1, 2, 7, 10, 8000])
def test_a_milestone_is_a_step_before_the_end(steps: int) -> None:
    found = milestone_steps(steps)
    assert all(0 < step < steps for step in found)
    assert len(found) == min(9, steps - 1)


def test_what_was_passed_over_does_not_count_as_one_of_the_last(tmp_path: Path) -> None:
    for step in (2, 4, 6):
        write_checkpoint(tmp_path / f"step-{step:06d}", steps_done=step)
    (tmp_path / "step-000006" / "weights.pt").write_bytes(b"abd")
    checkpoints = checkpoints_of(tmp_path)
    found = checkpoints.peek()
    assert found is not None
    assert found.name == "step-000004"
    assert checkpoints.save(Engine(), 5, History())
    assert names(tmp_path) == ["step-000004", "step-000005"]


@pytest.mark.parametrize("fault", [NO_ROOM, RuntimeError("PytorchStreamWriter failed\nat 0x1")])
def test_a_full_disk_costs_a_checkpoint_and_two_in_a_row_end_the_stage(
    tmp_path: Path, fault: Exception
) -> None:
    lines: list[str] = []
    checkpoints, full, empty = checkpoints_of(tmp_path, lines), Engine(), Engine()
    full.fault = fault
    assert checkpoints.save(empty, 2, History())
    assert not checkpoints.save(full, 4, History())
    assert full.meetings == 1  # it has gone through all of DeepSpeed's save, as the other ranks have
    (line,) = lines
    assert line.startswith("step-000004 could not be saved: ")
    assert "weights.pt: " in line
    assert "bytes are free" in line
    assert line.endswith(f"(last good checkpoint: {tmp_path / 'step-000002'})")
    assert names(tmp_path) == ["step-000002"]
    assert checkpoints.save(empty, 6, History())
    assert not checkpoints.save(full, 8, History())
    with pytest.raises(
        CheckpointSaveError, match=r"2 checkpoints in a row .* after step 10: .*step-000006\. Make room"
    ):
        checkpoints.save(full, 10, History())
    assert names(tmp_path) == ["step-000002", "step-000006"]
    assert "_copy_recovery_script" not in vars(full)


def test_a_disk_that_is_full_at_the_last_file_costs_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, *_: Any, **__: Any) -> int:
        raise NO_ROOM

    lines: list[str] = []
    checkpoints = checkpoints_of(tmp_path, lines)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        assert not checkpoints.save(Engine(), 2, History())
    assert "step-000002: No space left on device" in lines[0]
    assert names(tmp_path) == []


def test_everything_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a loss of power a name without its bytes would be there otherwise."""
    done: list[str] = []

    def noted(what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def note(first: Any, *others: Any) -> Any:
            path = Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else first
            done.append(f"{what} {path.name}")
            return call(first, *others)

        return note

    monkeypatch.setattr(os, "fsync", noted("sync", os.fsync))
    monkeypatch.setattr(Path, "replace", noted("rename", Path.replace))
    checkpoints_of(tmp_path / "stage").save(Engine(), 2, History())
    assert done == [
        "sync weights.pt",
        "sync state.json",
        "sync step-000002",
        "rename step-000002",
        "sync stage",
    ]
