"""What each rank is at, and its stack when that takes too long: a collective that hangs ends in an error saying where.

Each rank has a file, ``<output_dir>/stacks/rank-N.txt``: a line with what it is at, and behind it the stacks of its
threads once it has been at it for too long. Then it ends, so that torchrun ends the others, which leave theirs on the
way: on the request to stop, or when their own time is over. All of it is done below Python, by a thread of
:mod:`faulthandler` and in its signal handler: a rank that waits inside NCCL or gloo runs no Python.
"""

from __future__ import annotations

import contextlib
import faulthandler
import math
import os
import re
import signal
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal

STACKS = "stacks"
Phase = Literal["starting", "resuming", "probing", "stepping", "saving", "finishing"]
# Times the limit of a step. Reading and writing a model takes as long as the disk does; laying a checkpoint out anew,
# and what rank 0 does alone at the end, as long as it takes.
_PATIENCE: dict[Phase, float] = {
    "starting": 6.0,
    "resuming": math.inf,
    "probing": 6.0,
    "stepping": 1.0,
    "saving": 6.0,
    "finishing": math.inf,
}
LONGEST = max(patience for patience in _PATIENCE.values() if patience < math.inf)
_SLOWEST = 3.0  # times the slowest of its kind so far, where that is more than the limit
_HEAD_BYTES = 200
_EXPIRED = "Timeout ("  # how faulthandler begins where a limit is over
# Whether it is called the current one depends on what made it write, its number on chance.
_THREAD = re.compile(r"^(?:Current thread|Thread) 0x[0-9a-f]+", re.MULTILINE)
_SHOWN_LINES = 60  # of each stack; the file has all


class Watchdog:
    """The watch over this rank, for the length of a ``with`` block.

    Args:
        output_dir: of the stage.
        rank: This one's number.
        limit_s: What a step may take, in seconds; more where an earlier one has taken more than a third of it.
    """

    def __init__(self, output_dir: Path, rank: int, limit_s: float) -> None:
        self._path = output_dir / STACKS / f"rank-{rank}.txt"
        self._limit_s = limit_s
        self._slowest: dict[Phase, float] = {}
        self._phase: Phase = "starting"
        self._since = time.monotonic()
        self._descriptor = -1
        self.at = "starting"

    def __enter__(self) -> Watchdog:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
        os.lseek(self._descriptor, _HEAD_BYTES, os.SEEK_SET)
        faulthandler.register(signal.SIGTERM, file=self._descriptor, all_threads=True, chain=True)
        self.phase("starting")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        faulthandler.cancel_dump_traceback_later()
        faulthandler.unregister(signal.SIGTERM)
        os.close(self._descriptor)

    def phase(self, phase: Phase, step: int | None = None) -> None:
        """Say what comes now, and begin its time."""
        now = time.monotonic()
        self._slowest[self._phase] = max(self._slowest.get(self._phase, 0.0), now - self._since)
        self._phase, self._since = phase, now
        self.at = phase if step is None else f"{phase}, step {step}"
        limit_s = self._limit_of(phase)
        said = f"{self.at}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, limit {limit_s:g} s, pid {os.getpid()}"
        # A full disk is no reason to end: the stacks are missing then, and the time is watched all the same.
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, f"{said:<{_HEAD_BYTES - 1}}\n".encode(), 0)
        if limit_s == math.inf:
            faulthandler.cancel_dump_traceback_later()
        else:
            faulthandler.dump_traceback_later(limit_s, exit=True, file=self._descriptor)

    def _limit_of(self, phase: Phase) -> float:
        return max(self._limit_s * _PATIENCE[phase], _SLOWEST * self._slowest.get(phase, 0.0))


def expired(output_dir: Path, since_s: float) -> tuple[str, list[str]]:
    """Which rank's time was over, and every rank's stack; ranks with the same one share it.

    Args:
        output_dir: of the stage.
        since_s: seconds since 1970; what ranks said before is not of interest.

    Returns:
        The words are empty, and there are no lines, where no rank's time was over.
    """
    said = {
        int(path.stem.removeprefix("rank-")): path.read_bytes().decode(errors="replace")
        for path in (output_dir / STACKS).glob("rank-*.txt")
        if path.stat().st_mtime >= since_s
    }
    late = sorted(rank for rank, text in said.items() if _EXPIRED in text)
    if not late:
        return "", []
    groups: dict[str, list[int]] = {}
    for rank, text in sorted(said.items()):
        stack = "\n".join(line for line in text[_HEAD_BYTES:].splitlines() if not line.startswith(_EXPIRED))
        groups.setdefault(_THREAD.sub("Thread", stack).strip(), []).append(rank)
    lines = [f"{_named([rank])}: {text[:_HEAD_BYTES].strip()}" for rank, text in sorted(said.items())]
    for stack, ranks in groups.items():
        shown = stack.splitlines() or [
            "left no stack: the process did not answer (stopped, or in the kernel)"
        ]
        lines.append(f"stack of {_named(ranks)}:")
        lines += shown[:_SHOWN_LINES]
        if len(shown) > _SHOWN_LINES:
            lines.append(f"and {len(shown) - _SHOWN_LINES} lines more in {output_dir / STACKS}")
    return f"{_named(late)} waited for longer than allowed; {said[late[0]][:_HEAD_BYTES].strip()}", lines


def _named(ranks: Sequence[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
