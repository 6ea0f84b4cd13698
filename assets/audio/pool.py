"""A process pool that outlives its workers: a task that kills or hangs one becomes a result."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from types import ModuleType
from typing import Any, Generic, TypeVar

from validation.errors import UserError

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")
AnyT = TypeVar("AnyT")

_TRIES_ALONE = 2
_TRIES_TO_START = 2
# Handing over costs a millisecond, as much as a short file: short tasks go together, up to so many seconds or tasks.
_TOGETHER_S = 0.1
_MOST_TOGETHER = 16
_WAITING_PER_WORKER = 3  # of these; no worker idles, and little is repeated when one dies
# What numpy's and scipy's matrix products take a number of threads from: the workers are the threads here.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
# What the server of processes imports, once: the work on a file, which takes most of a second to import, and starts no
# thread that a fork would miss.
_IMPORTED_ONCE = ["assets.audio.work"]


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
    function: Callable[[TaskT], ResultT],
    tasks: Iterable[TaskT],
    workers: int,
    limit_s: Callable[[TaskT], float],
) -> Iterator[tuple[TaskT, ResultT | WorkerDied]]:
    """Apply ``function`` to each task in ``workers`` processes; results come as they are done.

    When a worker dies (a crash in a native decoder, the out-of-memory killer) or works on one task for longer than
    ``limit_s(task)`` seconds, the tasks that were under way are done again, each alone, in up to two tries; the one
    that survives neither yields :class:`WorkerDied`. Tasks are drawn from ``tasks`` only as they are needed. Exceptions
    of ``function`` are raised here.

    Processes are forks of a server that has done nothing but import, so ``function`` and the tasks must be picklable,
    and of modules that can be imported: the main program is none in a worker. Their environment is this process's. They
    end when this process does, however it ends.

    Raises:
        WorkersDoNotStartError: if a process that has been given no task yet ends as well.
    """
    waiting = iter(tasks)
    with (
        _Pool[TaskT, ResultT](function, workers, limit_s) as pool,
        _Pool[TaskT, ResultT](function, 1, limit_s) as alone,
    ):
        while True:
            suspects = pool.submit(waiting)
            if not pool.running and not suspects:
                return
            done, died = pool.collect()
            yield from done
            for task in [*suspects, *died]:
                yield task, alone.do_alone(task)


class _Pool(Generic[TaskT, ResultT]):
    """An executor that is started when first needed, and anew after it broke."""

    def __init__(
        self, function: Callable[[TaskT], ResultT], workers: int, limit_s: Callable[[TaskT], float]
    ) -> None:
        self._function = function
        self._workers = workers
        self._limit_s = limit_s
        self._executor: ProcessPoolExecutor | None = None
        self._together = 1
        self.running: dict[Future[_Done[ResultT]], tuple[TaskT, ...]] = {}

    def __enter__(self) -> _Pool[TaskT, ResultT]:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def submit(self, tasks: Iterator[TaskT]) -> list[TaskT]:
        """Submit as many as should wait; gives those that were under way where the executor turns out to be broken."""
        suspects: list[TaskT] = []
        while len(self.running) < self._workers * _WAITING_PER_WORKER:
            some = tuple(islice(tasks, self._together))
            if not some:
                break
            try:
                future = self._submit(some)
            except BrokenProcessPool:
                # A worker that died while it had nothing to do is nobody's fault: the new executor takes the tasks.
                suspects += self.drop()
                future = self._submit(some)
            self.running[future] = some
        return suspects

    def collect(self) -> tuple[list[tuple[TaskT, ResultT]], list[TaskT]]:
        """Wait for at least one task: what is done, and what was under way when a worker died."""
        finished, _ = wait(self.running, return_when=FIRST_COMPLETED)
        done: list[tuple[TaskT, ResultT]] = []
        died: list[TaskT] = []
        for future in finished:
            some = self.running.pop(future)
            try:
                found = future.result()
            except BrokenProcessPool:
                died.extend(some)
                continue
            done.extend(zip(some, found.results, strict=True))
            fitting = _TOGETHER_S * len(some) / max(found.seconds, 1e-6)
            self._together = max(1, min(int(fitting), 2 * self._together, _MOST_TOGETHER))
        return done, [*died, *self.drop()] if died else []

    def do_alone(self, task: TaskT) -> ResultT | WorkerDied:
        """The task's result, from a pool that does nothing else."""
        assert not self.running
        for _ in range(_TRIES_ALONE):
            self._see_it_start()
            began = time.monotonic()
            self.submit(iter([task]))
            done, _ = self.collect()
            if done:
                return done[0][1]
            if time.monotonic() - began >= self._limit_s(task):
                return WorkerDied(self._limit_s(task))
        return WorkerDied()

    def _see_it_start(self) -> None:
        """Before a task is blamed for the end of its process: a process can start, and answers."""
        for _ in range(_TRIES_TO_START):  # the first may find one that was killed while it idled
            try:
                return self._call(_answer).result()
            except BrokenProcessPool:
                self.drop()
        raise WorkersDoNotStartError(
            "worker processes end before they are given any work; standard error has their own words"
        )

    def drop(self) -> list[TaskT]:
        """End the executor; gives the tasks that it had not done."""
        left = [task for some in self.running.values() for task in some]
        self.running.clear()
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None
        return left

    def _submit(self, tasks: tuple[TaskT, ...]) -> Future[_Done[ResultT]]:
        return self._call(_within, self._function, tuple(map(self._limit_s, tasks)), tasks)

    def _call(self, function: Callable[..., AnyT], *arguments: Any) -> Future[AnyT]:
        # Processes start when the first call is made.
        with _nothing_but_the_task():
            return self._started().submit(function, *arguments)

    def _started(self) -> ProcessPoolExecutor:
        if self._executor is None:
            context = get_context("forkserver")
            context.set_forkserver_preload(_IMPORTED_ONCE)
            self._executor = ProcessPoolExecutor(
                self._workers, mp_context=context, initializer=_begin, initargs=(dict(os.environ),)
            )
        return self._executor


@contextmanager
def _nothing_but_the_task() -> Iterator[None]:
    """A process that is started meanwhile does not import this one's main program, and computes in one thread.

    A worker imports the modules of its function and its tasks; a main program, such as Dagster's, may import a hundred
    times as much, in each worker.
    """
    main = sys.modules["__main__"]
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    sys.modules["__main__"] = ModuleType("__main__")
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@dataclass(frozen=True, slots=True)
class _Done(Generic[ResultT]):
    """Results of tasks that were handed over together, and the time that they took."""

    results: tuple[ResultT, ...]
    seconds: float


def _within(
    function: Callable[[TaskT], ResultT], limits_s: tuple[float, ...], tasks: tuple[TaskT, ...]
) -> _Done[ResultT]:
    """In a worker: the tasks' results, unless the alarm ends the process before one of them is done."""
    # The signal is not handled, so that the system ends the process even where native code never comes back.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    began = time.perf_counter()
    results = []
    try:
        for limit_s, task in zip(limits_s, tasks, strict=True):
            signal.setitimer(signal.ITIMER_REAL, limit_s)
            results.append(function(task))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    return _Done(tuple(results), time.perf_counter() - began)


def _answer() -> None:
    """In a worker: it is there."""


def _begin(environment: dict[str, str]) -> None:
    """In a worker: take over the parent's environment, since the server has that of its own start; end with the parent.

    A killed parent cannot say so, and its workers would wait forever.
    """
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
