"""The pool: a task that kills its worker becomes a result, and everything else is still done."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from assets.audio.pool import WorkerDied, map_surviving


def square_unless_killed(value: int) -> int:
    """Ends its own process, like a crash in a native decoder, at multiples of seven."""
    if value % 7 == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return value * value


def die_once(marker: str) -> str:
    """Ends its process the first time only."""
    path = Path(marker)
    if not path.exists():
        path.write_text("died")
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def complain(value: int) -> int:
    """Raises for one."""
    if value == 1:
        raise ValueError("one is not allowed")
    return value


@pytest.mark.timeout(120)
def test_tasks_that_kill_their_worker_are_told_apart_from_the_rest():
    results = dict(map_surviving(square_unless_killed, range(1, 16), workers=2))
    assert {value for value, result in results.items() if isinstance(result, WorkerDied)} == {7, 14}
    assert {value: result for value, result in results.items() if value % 7} == {
        n: n * n for n in range(1, 16) if n % 7
    }


@pytest.mark.timeout(120)
def test_a_worker_that_dies_once_loses_nothing(tmp_path):
    tasks = [str(tmp_path / f"m{n}") for n in range(2)]
    assert sorted(map_surviving(die_once, tasks, workers=1)) == [(task, "done") for task in tasks]


@pytest.mark.timeout(60)
def test_exceptions_of_the_function_are_raised_here():
    with pytest.raises(ValueError, match="one is not allowed"):
        list(map_surviving(complain, range(3), workers=1))


def test_no_tasks_start_no_process():
    assert list(map_surviving(complain, [], workers=4)) == []
