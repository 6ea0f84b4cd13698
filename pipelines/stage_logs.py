"""Where a stage's last launch lies, how it stands, and what its history and log say; read without torch."""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from assets.outputs import Outputs
from training_jobs.checkpoint_files import read_state
from training_jobs.history import HISTORY_FILE, History
from training_jobs.jobs import read_result
from training_jobs.log_lines import LOG_FILE, read_lines
from training_jobs.spec import Stage
from training_jobs.training_log import TrainingLog, analyse, first_comparable_step
from training_jobs.trend import Verdict

State = Literal["never", "passed over", "running", "stopped", "finished"]

_LOOK_S = 0.5  # between two looks for what a log has got
_TAIL_BYTES = 1 << 18


@dataclass(frozen=True)
class StageLog:
    """A stage's last launch.

    Attributes:
        state: ``stopped`` where it has ended without a result; ``passed over`` where imported weights stand for it.
        directory: of its output, unless it has never run or was passed over.
        steps: that it is to take.
        steps_taken: as its log or its history says; more than the analysis knows of where it is not finished, since
            that is of the last checkpoint.
        verdict: that of the analysis, or ``diverged`` where the launch ended by that.
        why: the same in a sentence.
        analysis: of history and log; ``None`` without a directory.
    """

    stage: Stage
    state: State
    directory: Path | None = None
    steps: int = 0
    steps_taken: int = 0
    verdict: Verdict | None = None
    why: str = ""
    analysis: TrainingLog | None = None

    @property
    def log(self) -> Path:
        """All that its programs have said."""
        assert self.directory is not None
        return self.directory / LOG_FILE

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "stage": self.stage,
            "state": self.state,
            "log": None if self.directory is None else str(self.log),
            "steps": self.steps,
            "steps_taken": self.steps_taken,
            "verdict": self.verdict,
            "why": self.why,
            "analysis": None if self.analysis is None else self.analysis.to_json(),
        }


def find_stage_log(training_dir: Path, stage: Stage) -> StageLog:
    """How the stage's last launch below a profile's training directory stands."""
    present = Outputs(training_dir).find(stage)
    if present is not None and present.asset != stage:
        return StageLog(stage, "passed over")
    directory = _last_launch(training_dir, stage, None if present is None else present.path)
    if directory is None:
        return StageLog(stage, "never")
    log = directory / LOG_FILE
    is_finished = read_result(directory) is not None
    state: State = "running" if is_running(log) else "finished" if is_finished else "stopped"
    spec = _spec(directory)
    history = _history(directory)
    since = first_comparable_step(spec.get("steps", 0), (spec.get("curriculum") or {}).get("until_share"))
    analysis = analyse(history, read_lines(log), since)
    has_diverged = state == "stopped" and bool(analysis.log.diverged)
    return StageLog(
        stage,
        state,
        directory,
        steps=spec.get("steps", len(history.steps)),
        steps_taken=max(len(history.steps), _last_step(stage, log)),
        verdict="diverged" if has_diverged else analysis.verdict,
        why=analysis.log.diverged if has_diverged else analysis.why,
        analysis=analysis,
    )


def is_running(log: Path) -> bool:
    """Whether a supervisor is at work on this log: it holds a lock on it until it ends."""
    with log.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def tail(log: Path, lines: int) -> tuple[list[str], int]:
    """The last lines of a log, and up to which of its bytes they reach; a line that is not finished is left out."""
    with log.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _TAIL_BYTES))
        data = stream.read(_TAIL_BYTES)
    whole, newline, unfinished = data.rpartition(b"\n")
    if not newline:
        return [], size - len(data)
    texts = [line.rsplit(b"\r", 1)[-1].decode(errors="replace") for line in whole.split(b"\n")]
    return texts[-lines:], size - len(unfinished)


def follow(log: Path, start: int) -> Iterator[str]:
    """Each line that the log gets behind its byte ``start``, as it comes, until its supervisor ends."""
    has_ended = threading.Event()
    threading.Thread(target=_await_end, args=(log, has_ended), daemon=True).start()
    unfinished, is_over = b"", False
    with log.open("rb") as stream:
        stream.seek(start)
        while not is_over:
            # Asked before it is read: then nothing is missed that was written before the end.
            is_over = has_ended.wait(_LOOK_S)
            *lines, unfinished = (unfinished + stream.read()).split(b"\n")
            if is_over and unfinished:
                lines.append(unfinished)
            for line in lines:
                yield line.rsplit(b"\r", 1)[-1].decode(errors="replace")


def _await_end(log: Path, has_ended: threading.Event) -> None:
    with log.open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
    has_ended.set()


def _last_launch(training_dir: Path, stage: Stage, present: Path | None) -> Path | None:
    """The output's directory that was last written to or made the present one."""

    def written(directory: Path) -> float:
        times = [(directory / LOG_FILE).stat().st_mtime]
        if directory == present:
            times.append((training_dir / "present" / f"{stage}.json").stat().st_mtime)
        return max(times)

    launched = [log.parent for log in (training_dir / stage).glob(f"*/{LOG_FILE}")]
    return max(launched, key=written, default=None)


def _spec(directory: Path) -> dict[str, Any]:
    # As it stands: a job of an earlier version may have other keys than today's.
    path = directory / "job.json"
    spec = json.loads(path.read_text(encoding="utf-8")).get("spec", {}) if path.is_file() else {}
    return spec if isinstance(spec, dict) else {}


def _history(directory: Path) -> History:
    """That of the finished stage, or of its newest checkpoint; empty where there is neither."""
    path = directory / HISTORY_FILE
    if path.is_file():
        return History.from_json(json.loads(path.read_text(encoding="utf-8")))
    for checkpoint in sorted((directory / "checkpoints").glob("step-*"), key=_step_of, reverse=True):
        try:
            return read_state(checkpoint).history
        except (OSError, ValidationError):
            # Taken away by the stage at this moment, or damaged: it would be passed over there, too.
            continue
    return History()


def _step_of(checkpoint: Path) -> int:
    number = checkpoint.name.removeprefix("step-")
    return int(number) if number.isdecimal() else -1


def _last_step(stage: Stage, log: Path) -> int:
    """The step that the log's last line of progress names."""
    pattern = re.compile(rf" {stage} (\d+)/\d+ loss ")
    found = [match[1] for line in tail(log, 1000)[0] if (match := pattern.search(line))]
    return int(found[-1]) if found else 0
