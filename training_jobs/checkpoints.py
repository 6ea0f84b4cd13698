"""Checkpoints of a running stage: written aside, renamed, verified before they are used.

``<directory>/step-000040/`` holds DeepSpeed's files (weights that are trained, optimizer state of every rank) and
``state.json`` with their sizes and digests. DeepSpeed's files are pickles: only directories that this program wrote
are ever loaded.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training_jobs.checkpoint_files import State, fault_said, usable_state, write_state, writing
from training_jobs.distributed import World
from training_jobs.elastic import UNIVERSAL, RanksChangedError, check_convertible, convert, is_laid_out_for
from training_jobs.history import History
from validation.errors import UserError
from validation.local_files import sync

_WORKING = ".saving"
_CONVERTED = ".converted"
_NAME = re.compile(r"step-(\d{6,})")
_FAILURES = 2  # in a row: from then on more is lost with every step than a full disk may be worth waiting for


class CheckpointLoadError(RuntimeError):
    """DeepSpeed has not restored what it was told to: training on would be training from somewhere else."""


class CheckpointSaveError(UserError):
    """Checkpoints cannot be written; names the file, the room that is left and the last checkpoint that is good."""


@dataclass(frozen=True)
class Found:
    """A checkpoint to go on from, whose files are whole.

    Attributes:
        steps: taken when it was made.
        world_size: ranks that wrote it.
        directory: where its files are to be loaded from.
        load_config: what DeepSpeed's configuration must say for that.
    """

    name: str
    steps: int
    world_size: int
    directory: Path
    load_config: dict[str, Any]
    history: History


@dataclass(frozen=True)
class Resumed:
    """A checkpoint that was loaded."""

    name: str
    step: int
    history: History


def milestone_steps(steps: int) -> frozenset[int]:
    """Steps after which a tenth more of the way is done, the end left out."""
    return frozenset(round(steps * tenth / 10) for tenth in range(1, 10)) - {0, steps}


class Checkpoints:
    """The checkpoints of one stage.

    Args:
        directory: Theirs alone; shared by all ranks.
        keep: How many of the last ones are kept.
        fingerprint: Of what is trained on what; a checkpoint with another one is not used.
        world: This rank.
        log: Where fallbacks and failures are said.
        zero_stage: DeepSpeed's.
        milestones: Steps whose checkpoints are kept beside the last ones.

    Attributes:
        newest_good: The name of the last checkpoint that was loaded or saved.
        save_s: What the last save took, in seconds.
    """

    def __init__(
        self,
        directory: Path,
        keep: int,
        fingerprint: str,
        world: World,
        log: Callable[[str], None],
        *,
        zero_stage: int,
        milestones: Collection[int] = (),
    ) -> None:
        self._directory = directory
        self._keep = keep
        self._fingerprint = fingerprint
        self._world = world
        self._log = log
        self._zero_stage = zero_stage
        self._milestones = frozenset(milestones)
        self._failures = 0
        self.newest_good: str | None = None
        self.save_s = 0.0

    def save(self, engine: Any, steps_done: int, history: History) -> bool:
        """Save after ``steps_done`` steps; called on all ranks. Whether it is there.

        One that cannot be written is said, and training goes on: a full disk may have room again at the next.

        Raises:
            CheckpointSaveError: on every rank, if the one before could not be written either.
        """
        started = time.monotonic()
        name = f"step-{steps_done:06d}"
        fault = self._write(engine, name, steps_done, history)
        if fault is None:
            self._failures, self.newest_good = 0, name
            self.save_s = time.monotonic() - started
            return True
        self._failures += 1
        last = "none yet" if self.newest_good is None else str(self._directory / self.newest_good)
        if self._failures >= _FAILURES:
            raise CheckpointSaveError(
                f"{self._failures} checkpoints in a row could not be written, the last after step {steps_done}: "
                f"{fault}; the last good checkpoint is {last}. Make room and run again: it goes on from there"
            )
        self._log(f"{name} could not be saved: {fault}; training goes on (last good checkpoint: {last})")
        return False

    def peek(self) -> Found | None:
        """The newest usable checkpoint, which :meth:`load` will load; called on all ranks, before there is an engine.

        A damaged one is passed over, saying so, for the one before it. One of another number of ranks is laid out
        anew for these, which takes as long as reading and writing it twice.

        Raises:
            RanksChangedError: on every rank, if it cannot be laid out for these ranks.
        """
        answer = self._world.from_first_patiently(self._found() if self._world.rank == 0 else None)
        if isinstance(answer, str):
            raise RanksChangedError(answer)
        assert answer is None or isinstance(answer, Found)
        return answer

    def load(self, engine: Any, found: Found) -> Resumed:
        """Load what :meth:`peek` has found; called on all ranks, whose engine was made with ``found.load_config``.

        Raises:
            CheckpointLoadError: if DeepSpeed did not restore the optimizer as it was after the checkpoint's steps.
        """
        loaded, _ = engine.load_checkpoint(found.directory, tag=found.name, load_module_strict=False)
        if loaded is None:
            raise CheckpointLoadError(f"{found.directory / found.name}: DeepSpeed has loaded nothing")
        if (taken := steps_taken(engine)) != {found.steps}:
            raise CheckpointLoadError(
                f"{found.directory / found.name}: the optimizer counts {sorted(taken)} steps, the checkpoint was made "
                f"after {found.steps}"
            )
        self._world.barrier()
        if self._world.rank == 0:
            shutil.rmtree(self._directory / _CONVERTED, ignore_errors=True)
        self.newest_good = found.name
        return Resumed(found.name, found.steps, found.history)

    def remove_all(self) -> None:
        """Remove the checkpoints of a finished stage; called on rank 0."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _write(self, engine: Any, name: str, steps_done: int, history: History) -> str | None:
        """Write the checkpoint; why not, the same on every rank."""
        working = self._directory / _WORKING
        begun = self._world.from_first(self._begin(working / name) if self._world.rank == 0 else None)
        if begun is not None:
            return str(begun)
        with writing(engine) as written:
            # The frozen weights are those of the checkpoint the stage started from.
            engine.save_checkpoint(working, tag=name, save_latest=False, exclude_frozen_parameters=True)
        shares = self._world.all_values((written.files, written.fault))
        fault: str | None = next((fault for _, fault in shares if fault is not None), None)
        if fault is None:
            state = State(
                steps_done=steps_done,
                fingerprint=self._fingerprint,
                world_size=self._world.size,
                zero_stage=self._zero_stage,
                files={file: digest for files, _ in shares for file, digest in files.items()},
                history=history,
            )
            fault = self._world.from_first(
                self._publish(working / name, state) if self._world.rank == 0 else None
            )
        if self._world.rank == 0:
            # Of a failed one, too: what it takes is not to be missing for the next.
            shutil.rmtree(working, ignore_errors=True)
            self._prune(steps_done)
        return fault

    def _begin(self, directory: Path) -> str | None:
        try:
            shutil.rmtree(directory.parent, ignore_errors=True)
            directory.mkdir(parents=True)
        except OSError as error:
            return fault_said(directory, error)
        return None

    def _publish(self, written: Path, state: State) -> str | None:
        """Rename what was written to its place, so that it is there after a loss of power as well."""
        target = self._directory / written.name
        try:
            write_state(written, state)
            shutil.rmtree(target, ignore_errors=True)  # a damaged one that was passed over
            written.replace(target)
            sync(self._directory)
        except OSError as error:
            return fault_said(target, error)
        return None

    def _prune(self, steps_done: int) -> None:
        by_step = {_step_of(name): name for name in self._names()}
        # Those of later steps were passed over when this run began: kept, they would count as the last ones.
        kept = set(sorted(step for step in by_step if step <= steps_done)[-self._keep :]) | self._milestones
        for step, name in by_step.items():
            if step not in kept or step > steps_done:
                shutil.rmtree(self._directory / name, ignore_errors=True)

    def _names(self) -> list[str]:
        if not self._directory.is_dir():
            return []
        found = (path.name for path in self._directory.iterdir() if _NAME.fullmatch(path.name))
        return sorted(found, key=_step_of)

    def _found(self) -> Found | str | None:
        """What to go on from; a text where that is not possible, and why."""
        for left in (_WORKING, _CONVERTED):
            shutil.rmtree(self._directory / left, ignore_errors=True)
        for name in reversed(self._names()):
            state = usable_state(self._directory / name, self._fingerprint)
            if isinstance(state, str):
                self._log(f"checkpoint {name} is not used: {state}")
                continue
            try:
                return self._laid_out(name, state)
            except RanksChangedError as error:
                return str(error)
        return None

    def _laid_out(self, name: str, state: State) -> Found:
        """The checkpoint in the layout of these ranks."""
        checkpoint, ranks = self._directory / name, self._world.size
        if is_laid_out_for(state, ranks, self._zero_stage):
            return Found(name, state.steps_done, state.world_size, self._directory, {}, state.history)
        check_convertible(checkpoint, state, ranks, self._zero_stage)
        started, directory = time.monotonic(), self._directory / _CONVERTED
        self._log(f"{name} of {state.world_size} ranks is laid out anew for {ranks}")
        convert(checkpoint, directory / name)
        self._log(f"{name} is laid out for {ranks} ranks after {time.monotonic() - started:.0f} s")
        return Found(name, state.steps_done, state.world_size, directory, UNIVERSAL, state.history)


def steps_taken(engine: Any) -> set[int]:
    """How many updates the optimizer has made of the values that this rank updates: one number, if all is well."""
    return {int(state["step"]) for state in engine.optimizer.optimizer.state.values()}


def _step_of(name: str) -> int:
    matched = _NAME.fullmatch(name)
    assert matched is not None, name
    return int(matched.group(1))
