"""The pool: a task that kills its worker becomes a result, and everything else is still done."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest

from assets.audio import pool
from assets.audio.pool import WorkerDied, WorkersDoNotStartError, map_surviving


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
    results = dict(map_surviving(square_unless_killed, range(1, 16), workers=2, limit_s=60))
    assert {value for value, result in results.items() if isinstance(result, WorkerDied)} == {7, 14}
    assert {value: result for value, result in results.items() if value % 7} == {
        n: n * n for n in range(1, 16) if n % 7
    }


@pytest.mark.timeout(120)
def test_a_worker_that_dies_once_loses_nothing(tmp_path):
    tasks = [str(tmp_path / f"m{n}") for n in range(2)]
    assert sorted(map_surviving(die_once, tasks, workers=1, limit_s=60)) == [(task, "done") for task in tasks]


@pytest.mark.timeout(60)
def test_exceptions_of_the_function_are_raised_here():
    with pytest.raises(ValueError, match="one is not allowed"):
        list(map_surviving(complain, range(3), workers=1, limit_s=60))


def test_no_tasks_start_no_process():
    assert list(map_surviving(complain, [], workers=4, limit_s=60)) == []


def hang_at_one(value: int) -> int:
    """Never comes back for one, like a decoder that loops."""
    if value == 1:
        threading.Event().wait()
    return value


@pytest.mark.timeout(120)
def test_a_task_that_never_ends_holds_up_nothing_else():
    results = dict(map_surviving(hang_at_one, range(4), workers=2, limit_s=2))
    assert results == {0: 0, 1: WorkerDied(2), 2: 2, 3: 3}


def own_process(_: int) -> int:
    """The worker's process id."""
    return os.getpid()


@pytest.mark.timeout(120)
def test_a_worker_that_dies_while_it_idles_costs_no_task_a_try(monkeypatch):
    # Private, because nothing shows it from outside: between two lone tasks the worker has nothing to do.
    monkeypatch.setattr(pool, "_TRIES_ALONE", 1)
    with pool._Pool(own_process, 1, 60) as alone:
        worker = alone.do_alone(0)
        psutil.Process(worker).kill()
        with pytest.raises(BrokenProcessPool):  # from here on the executor knows
            alone._started().submit(own_process, 0).result()
        assert alone.do_alone(1) not in (WorkerDied(), worker)


def end_at_once() -> None:
    """What a worker does that never comes to its first task."""
    os._exit(1)


@pytest.mark.timeout(120)
def test_no_task_is_blamed_where_no_worker_starts(monkeypatch):
    monkeypatch.setattr(pool, "_end_with_parent", end_at_once)
    with pytest.raises(WorkersDoNotStartError, match="before they are given any work"):
        list(map_surviving(complain, [2, 3], workers=1, limit_s=60.0))
