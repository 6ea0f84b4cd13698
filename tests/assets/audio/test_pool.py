"""The pool: a task that kills its worker becomes a result, and everything else is still done."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest

from assets.audio import pool
from assets.audio.pool import WorkerDied, WorkersDoNotStartError, map_surviving


def a_minute(_: object) -> float:
    """The limit of every task."""
    return 60.0


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
    results = dict(map_surviving(square_unless_killed, range(1, 16), workers=2, limit_s=a_minute))
    assert {value for value, result in results.items() if isinstance(result, WorkerDied)} == {7, 14}
    assert {value: result for value, result in results.items() if value % 7} == {
        n: n * n for n in range(1, 16) if n % 7
    }


@pytest.mark.timeout(120)
def test_a_worker_that_dies_once_loses_nothing(tmp_path):
    tasks = [str(tmp_path / f"m{n}") for n in range(2)]
    assert sorted(map_surviving(die_once, tasks, workers=1, limit_s=a_minute)) == [
        (task, "done") for task in tasks
    ]


@pytest.mark.timeout(60)
def test_exceptions_of_the_function_are_raised_here():
    with pytest.raises(ValueError, match="one is not allowed"):
        list(map_surviving(complain, range(3), workers=1, limit_s=a_minute))


def test_no_tasks_start_no_process():
    assert list(map_surviving(complain, [], workers=4, limit_s=a_minute)) == []


def hang_at_one(value: int) -> int:
    """Never comes back for one, like a decoder that loops."""
    if value == 1:
        threading.Event().wait()
    return value


@pytest.mark.timeout(120)
def test_a_task_that_never_ends_holds_up_nothing_else_and_each_has_a_limit_of_its_own():
    limits = {1: 2.0}
    results = dict(
        map_surviving(hang_at_one, range(4), workers=2, limit_s=lambda task: limits.get(task, 60.0))
    )
    assert results == {0: 0, 1: WorkerDied(2.0), 2: 2, 3: 3}


def own_process(_: int) -> int:
    """The worker's process id."""
    return os.getpid()


@pytest.mark.timeout(120)
def test_a_worker_that_dies_while_it_idles_costs_no_task_a_try(monkeypatch):
    # Private, because nothing shows it from outside: between two lone tasks the worker has nothing to do.
    monkeypatch.setattr(pool, "_TRIES_ALONE", 1)
    with pool._Pool(own_process, 1, a_minute) as alone:
        worker = alone.do_alone(0)
        psutil.Process(worker).kill()
        with pytest.raises(BrokenProcessPool):  # from here on the executor knows
            alone._started().submit(own_process, 0).result()
        assert alone.do_alone(1) not in (WorkerDied(), worker)


def end_at_once(_: object) -> None:
    """What a worker does that never comes to its first task."""
    os._exit(1)


@pytest.mark.timeout(120)
def test_no_task_is_blamed_where_no_worker_starts(monkeypatch):
    monkeypatch.setattr(pool, "_begin", end_at_once)
    with pytest.raises(WorkersDoNotStartError, match="before they are given any work"):
        list(map_surviving(complain, [2, 3], workers=1, limit_s=a_minute))


def surroundings(_: int) -> tuple[str | None, str | None]:
    """The main program of a worker, and how many threads its matrix products may have."""
    return getattr(sys.modules["__main__"], "__file__", None), os.environ.get("OPENBLAS_NUM_THREADS")


@pytest.mark.timeout(120)
def test_a_worker_imports_no_main_program_and_computes_in_one_thread(monkeypatch):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    ((_, found),) = map_surviving(surroundings, [0], workers=1, limit_s=a_minute)
    assert found == (None, "1")
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def one_by_one(task: tuple[str, int]) -> int:
    """Notes that it ran."""
    folder, value = task
    with (Path(folder) / str(value)).open("a") as file:
        file.write("x")
    return value


@pytest.mark.timeout(120)
def test_short_tasks_that_are_handed_over_together_are_each_done_once(tmp_path):
    tasks = [(str(tmp_path), value) for value in range(200)]
    done = list(map_surviving(one_by_one, iter(tasks), workers=2, limit_s=a_minute))
    assert sorted(value for _, value in done) == list(range(200))
    assert all(task[1] == value for task, value in done)
    assert {len(path.read_text()) for path in tmp_path.iterdir()} == {1}
