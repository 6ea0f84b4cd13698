"""One run at a time works in a home.

Two at once would write one another's tables and output directories, train on tables that are just being replaced, and
slow one another's clock in the benchmark. Runs from the UI and the daemon stand in Dagster's queue (``dagster.yaml``,
``max_concurrent_runs``); those of ``voxline run``, and whatever else starts one, wait here.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_TURN_FILE = ".turn"


@contextmanager
def free_turn(home: Path, holder: str) -> Iterator[bool]:
    """Whether no run works in ``home``; then none begins until the block ends."""
    with (home / _TURN_FILE).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        file.truncate(0)
        file.write(holder)
        file.flush()
        yield True


@contextmanager
def turn(home: Path, run_id: str, say: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other run works in ``home``, and keep the others waiting until the block ends.

    Args:
        say: told which run is waited for, if one is.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / _TURN_FILE).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read() or "another run"
            say(f"waiting for run {holder}: one run at a time works in a home")
            fcntl.flock(file, fcntl.LOCK_EX)
        # The lock is the kernel's and ends with the process, also by kill -9; the text is for those who wait.
        file.truncate(0)
        file.write(run_id)
        file.flush()
        yield
