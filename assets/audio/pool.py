"""A process pool that outlives its workers: a task that kills or hangs one becomes a result."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from typing import Generic, TypeVar

from validation.errors import UserError

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")

_TRIES_ALONE = 2
_TRIES_TO_START = 2
_WAITING_PER_WORKER = 8  # enough that no worker idles; few enough that little is repeated when one dies


class WorkersDoNotStartError(UserError):
    """Worker processes that end before they have done anything: the machine's fault or the caller's, not a task's."""


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """The process that did the task ended without an answer, though it did nothing else.

    Attributes:
        limit_s: The time that the task did not keep to, in seconds; ``None`` where the process died by itself, each
            time.
    """

    limit_s: float | None = None


def map_surviving(
    function: Callable[[TaskT], ResultT], tasks: Iterable[TaskT], workers: int, limit_s: float
) -> Iterator[tuple[TaskT, ResultT | WorkerDied]]:
    """Apply ``function`` to each task in ``workers`` processes; results come as they are done.

    When a worker dies (a crash in a native decoder, the out-of-memory killer) or works on one task for longer than
    ``limit_s`` seconds, the tasks that were under way are done again, each alone, in up to two tries; the one that
    survives neither yields :class:`WorkerDied`. Tasks are drawn from ``tasks`` only as they are needed. Exceptions of
    ``function`` are raised here.

    Processes are spawned, so ``function`` and the tasks must be picklable; they end when this process does,
    however it ends.

    Raises:
        WorkersDoNotStartError: if a process that has been given no task yet ends as well.
    """
    waiting = iter(tasks)
    with (
        _Pool[TaskT, ResultT](function, workers, limit_s) as pool,
        _Pool[TaskT, ResultT](function, 1, limit_s) as alone,
    ):
        while True:
            suspects = pool.submit(islice(waiting, pool.room))
            if not pool.running and not suspects:
                return
            done, died = pool.collect()
            yield from done
            for task in [*suspects, *died]:
                yield task, alone.do_alone(task)


class _Pool(Generic[TaskT, ResultT]):
    """An executor that is started when first needed, and anew after it broke."""

    def __init__(self, function: Callable[[TaskT], ResultT], workers: int, limit_s: float) -> None:
        self._function = partial(_within, function, limit_s)
        self._workers = workers
        self._limit_s = limit_s
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
        """Submit the tasks; gives those that were under way where the executor turns out to be broken."""
        suspects: list[TaskT] = []
        for task in tasks:
            try:
                future = self._started().submit(self._function, task)
            except BrokenProcessPool:
                # A worker that died while it had nothing to do is nobody's fault: the new executor takes the task.
                suspects += self.drop()
                future = self._started().submit(self._function, task)
            self.running[future] = task
        return suspects

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

    def do_alone(self, task: TaskT) -> ResultT | WorkerDied:
        """The task's result, from a pool that does nothing else."""
        assert not self.running
        for _ in range(_TRIES_ALONE):
            self._see_it_start()
            began = time.monotonic()
            self.submit([task])
            done, _ = self.collect()
            if done:
                return done[0][1]
            if time.monotonic() - began >= self._limit_s:
                return WorkerDied(self._limit_s)
        return WorkerDied()

    def _see_it_start(self) -> None:
        """Before a task is blamed for the end of its process: a process can start, and answers."""
        for _ in range(_TRIES_TO_START):  # the first may find one that was killed while it idled
            try:
                return self._started().submit(_answer).result()
            except BrokenProcessPool:
                self.drop()
        raise WorkersDoNotStartError(
            "worker processes end before they are given any work; standard error has their own words"
        )

    def drop(self) -> list[TaskT]:
        """End the executor; gives the tasks that it had not done."""
        left = list(self.running.values())
        self.running.clear()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None
        return left

    def _started(self) -> ProcessPoolExecutor:
        if self._executor is None:
            context = get_context("spawn")
            self._executor = ProcessPoolExecutor(
                self._workers, mp_context=context, initializer=_end_with_parent
            )
        return self._executor


def _within(function: Callable[[TaskT], ResultT], limit_s: float, task: TaskT) -> ResultT:
    """In a worker: the task's result, unless the alarm ends the process before it."""
    # The signal is not handled, so that the system ends the process even where native code never comes back.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        return function(task)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def _answer() -> None:
    """In a worker: it is there."""


def _end_with_parent() -> None:
    """In a worker: end when the parent is gone. A killed parent cannot say so, and its workers would wait forever."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
