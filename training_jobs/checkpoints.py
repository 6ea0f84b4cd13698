"""Checkpoints of a running stage: written aside, renamed, verified before they are used.

``<directory>/step-000040/`` holds DeepSpeed's files (weights that are trained, optimizer state of every rank) and
``state.json`` with their sizes and digests. DeepSpeed's files are pickles: only directories that this program wrote
are ever loaded.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from training_jobs.distributed import World
from training_jobs.history import History
from validation.strict import Strict, explain

STATE_FILE = "state.json"
_WORKING = ".saving"
_NAME = re.compile(r"step-\d{6,}")


class CheckpointLoadError(RuntimeError):
    """DeepSpeed has not restored what it was told to: training on would be training from somewhere else."""


class _File(Strict):
    bytes: int
    sha256: str


class _State(Strict):
    """What ``state.json`` holds; ``files`` are those of DeepSpeed beside it."""

    steps_done: int
    fingerprint: str
    files: dict[str, _File]
    history: History


@dataclass(frozen=True)
class Resumed:
    """A checkpoint that was loaded."""

    name: str
    step: int
    history: History


class Checkpoints:
    """The checkpoints of one stage.

    Args:
        directory: Theirs alone; shared by all ranks.
        keep: How many are kept.
        fingerprint: Of what is trained on what; a checkpoint with another one is not used.
        world: This rank.
        log: Where fallbacks are said.
    """

    def __init__(
        self, directory: Path, keep: int, fingerprint: str, world: World, log: Callable[[str], None]
    ) -> None:
        self._directory = directory
        self._keep = keep
        self._fingerprint = fingerprint
        self._world = world
        self._log = log
        self._newest_good: str | None = None

    @property
    def newest_good(self) -> str | None:
        """The newest checkpoint that this program has saved or loaded; ``None`` before there is one."""
        return self._newest_good

    def save(self, engine: Any, steps_done: int, history: History) -> None:
        """Save after ``steps_done`` steps; called on all ranks."""
        name = f"step-{steps_done:06d}"
        working = self._directory / _WORKING
        if self._world.rank == 0:
            shutil.rmtree(working, ignore_errors=True)
            working.mkdir(parents=True)
        self._world.barrier()
        # The frozen weights are those of the checkpoint the stage started from.
        engine.save_checkpoint(working, tag=name, save_latest=False, exclude_frozen_parameters=True)
        self._world.barrier()
        files = sorted(path for path in (working / name).rglob("*") if path.is_file())
        # Every rank reads back a share: the digests of a large model's state take a while.
        share = {path.name: _describe(path) for path in files[self._world.rank :: self._world.size]}
        shares = self._world.all_values(share)
        if self._world.rank == 0:
            described = {file: value for share in shares for file, value in share.items()}
            state = _State(
                steps_done=steps_done, fingerprint=self._fingerprint, files=described, history=history
            )
            (working / name / STATE_FILE).write_text(state.model_dump_json(), encoding="utf-8")
            target = self._directory / name
            shutil.rmtree(target, ignore_errors=True)  # a damaged one that was passed over
            (working / name).replace(target)
            shutil.rmtree(working)
            for old in self._names()[: -self._keep]:
                shutil.rmtree(self._directory / old)
        self._world.barrier()
        self._newest_good = name

    def load_newest(self, engine: Any) -> Resumed | None:
        """Load the newest usable checkpoint into the engine; called on all ranks.

        A damaged one is passed over, saying so, for the one before it.

        Raises:
            CheckpointLoadError: if DeepSpeed did not restore the optimizer as it was after the checkpoint's steps.
        """
        name = self._world.from_first(self._newest_usable() if self._world.rank == 0 else None)
        if name is None:
            return None
        state = _read_state(self._directory / name)
        loaded, _ = engine.load_checkpoint(self._directory, tag=name, load_module_strict=False)
        if loaded is None:
            raise CheckpointLoadError(f"{self._directory / name}: DeepSpeed has loaded nothing")
        if (taken := steps_taken(engine)) != {state.steps_done}:
            raise CheckpointLoadError(
                f"{self._directory / name}: the optimizer counts {sorted(taken)} steps, the checkpoint was made after "
                f"{state.steps_done}"
            )
        self._newest_good = name
        return Resumed(name, state.steps_done, state.history)

    def remove_all(self) -> None:
        """Remove the checkpoints of a finished stage; called on rank 0."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _names(self) -> list[str]:
        if not self._directory.is_dir():
            return []
        return sorted(path.name for path in self._directory.iterdir() if _NAME.fullmatch(path.name))

    def _newest_usable(self) -> str | None:
        for name in reversed(self._names()):
            fault = fault_of(self._directory / name, self._fingerprint)
            if fault is None:
                return name
            self._log(f"checkpoint {name} is not used: {fault}")
        return None


def fault_of(checkpoint: Path, fingerprint: str) -> str | None:
    """Why a checkpoint cannot be used; ``None`` where it can."""
    try:
        state = _read_state(checkpoint)
    except OSError as error:
        return f"{STATE_FILE} cannot be read ({error})"
    except ValidationError as error:
        return f"{STATE_FILE} cannot be read ({explain(error)})"
    if state.fingerprint != fingerprint:
        return "it belongs to other hyper-parameters, start weights, data or number of ranks"
    for name, expected in state.files.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != expected.bytes:
            return f"{name} has {path.stat().st_size} bytes, {expected.bytes} were written"
        if _describe(path) != expected:
            return f"{name} has changed since it was written"
    return None


def steps_taken(engine: Any) -> set[int]:
    """How many updates the optimizer has made of the values that this rank updates: one number, if all is well."""
    return {int(state["step"]) for state in engine.optimizer.optimizer.state.values()}


def _read_state(checkpoint: Path) -> _State:
    return _State.model_validate_json((checkpoint / STATE_FILE).read_bytes())


def _describe(path: Path) -> _File:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return _File(bytes=path.stat().st_size, sha256=digest)
