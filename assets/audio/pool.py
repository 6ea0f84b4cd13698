"""A process pool that outlives its workers: a task that kills one becomes a result, not the end of the run."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from typing import Generic, TypeVar

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

_TRIES_ALONE = 2
_WAITING_PER_WORKER = 8  # enough that no worker idles; few enough that little is repeated when one dies


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """The process that did the task ended without an answer, again and again, though it did nothing else."""


def map_surviving(
    function: Callable[[TaskT], ResultT], tasks: Iterable[TaskT], workers: int
) -> Iterator[tuple[TaskT, ResultT | WorkerDied]]:
    """Apply ``function`` to each task in ``workers`` processes; results come as they are done.

    When a worker dies (a crash in a native decoder, the out-of-memory killer), the tasks that were under way are
    done again, each alone, in up to two tries; the one that survives neither yields :class:`WorkerDied`. Tasks are
    drawn from ``tasks`` only as they are needed. Exceptions of ``function`` are raised here.

    Processes are spawned, so ``function`` and the tasks must be picklable; they end when this process does,
    however it ends.
    """
    waiting = iter(tasks)
    with _Pool[TaskT, ResultT](function, workers) as pool, _Pool[TaskT, ResultT](function, 1) as alone:
        while True:
            lost = pool.submit(islice(waiting, pool.room))
            if not pool.running and not lost:
                return
            done, died = pool.collect() if not lost else ([], pool.drop())
            yield from done
            for task in [*lost, *died]:
                results: list[tuple[TaskT, ResultT]] = []
                for _ in range(_TRIES_ALONE):
                    if not results:
                        alone.submit([task])
                        results, _ = alone.collect()
                yield results[0] if results else (task, WorkerDied())


class _Pool(Generic[TaskT, ResultT]):
    """An executor that is started when first needed, and anew after it broke."""

    def __init__(self, function: Callable[[TaskT], ResultT], workers: int) -> None:
        self._function = function
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None
        self.running: dict[Future[ResultT], TaskT] = {}

    def __enter__(self) -> _Pool[TaskT, ResultT]:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    @property
    def room(self) -> int:
        """How many more tasks should wait in the pool."""
        return self._workers * _WAITING_PER_WORKER - len(self.running)

    def submit(self, tasks: Iterable[TaskT]) -> list[TaskT]:
        """Submit the tasks; those that the pool was too broken to take come back."""
        refused = []
        for task in tasks:
            if self._executor is None:
                context = get_context("spawn")
                self._executor = ProcessPoolExecutor(
                    self._workers, mp_context=context, initializer=_end_with_parent
                )
            try:
                self.running[self._executor.submit(self._function, task)] = task
            except BrokenProcessPool:
                refused.append(task)
        return refused

    def collect(self) -> tuple[list[tuple[TaskT, ResultT]], list[TaskT]]:
        """Wait for at least one task: what is done, and what was under way when a worker died."""
        finished, _ = wait(self.running, return_when=FIRST_COMPLETED)
        done, died = [], []
        for future in finished:
            task = self.running.pop(future)
            try:
                done.append((task, future.result()))
            except BrokenProcessPool:
                died.append(task)
        return done, [*died, *self.drop()] if died else []

    def drop(self) -> list[TaskT]:
        """End the executor; gives the tasks that it had not done."""
        left = list(self.running.values())
        self.running.clear()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None
        return left


def _end_with_parent() -> None:
    """In a worker: end when the parent is gone. A killed parent cannot say so, and its workers would wait forever."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
