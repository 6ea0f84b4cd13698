"""Ends this process, or fills its disk, at the n-th thing that it does to a folder: chosen by events, not by time."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from assets.audio import pool

Does = Literal["kill group", "kill process", "fill"]
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_TOUCHED = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}


class Disturber:
    """Counts what this process does below a folder (files opened, written, renamed, removed; folders made).

    Args:
        below: The folder.
        does: What happens at the count; ``fill``: from there on, all that needs space fails.
        once: A file that says that it happened: of several processes with this count, one is ended.
        at: The count; ``None``: nothing happens.
        always: Each process with this count is ended.
    """

    def __init__(self, below: Path, does: Does, once: Path, at: int | None, always: bool = False) -> None:
        self._always = always
        self._below = str(below)
        self._does = does
        self._once = once
        self._owner = os.getpid()
        self.restart(at)

    def restart(self, at: int | None) -> None:
        """Count anew."""
        self.at = at
        self.count = 0

    def take_over(self) -> bool:
        """In a fork: count what this process does; says whether it did not so far."""
        if self._owner == os.getpid():
            return False
        self._owner, self.count = os.getpid(), 0
        return True

    def start(self) -> None:
        """From now on, in this process, which has no other disturber."""
        original, really_open = io.FileIO, io.open
        happens, watches = self.happens, self.watches

        class Watched(original):  # type: ignore[misc,valid-type]
            """Of what is written when the process ends, half gets there."""

            def write(self, data: Any) -> int:
                view = memoryview(data).cast("B")
                if watches(self.name):
                    happens(True, lambda: original.write(self, view[: len(view) // 2]))
                return original.write(self, view)

        def opened(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
            if watches(file) and mode in ("wb", "xb"):
                return io.BufferedWriter(Watched(os.fspath(file), mode[0]))
            return really_open(file, mode, *more, **named)

        io.FileIO = Watched  # type: ignore[misc]
        io.open = opened  # type: ignore[assignment]
        sys.addaudithook(self._audit)

    def watches(self, path: object) -> bool:
        """Whether something lies below the folder."""
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        return isinstance(path, (str, Path)) and str(path).startswith(self._below)

    def happens(self, needs_space: bool, before: Callable[[], object] = lambda: None) -> None:
        """One more thing is about to be done; ``before`` is done of it before the end."""
        if self._owner != os.getpid():
            return
        self.count += 1
        if self.at is None or self.count < self.at:
            return
        if self._does == "fill":
            if needs_space:
                self._is_first()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        elif self.count == self.at and (self._is_first() or self._always):
            before()
            os.kill(0 if self._does == "kill group" else os.getpid(), signal.SIGKILL)

    def _is_first(self) -> bool:
        try:
            os.close(os.open(self._once, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and self.watches(arguments[0]):
            flags = arguments[2] if isinstance(arguments[2], int) else 0
            self.happens(bool(flags & _WRITES))
        elif event in _TOUCHED and any(self.watches(argument) for argument in arguments):
            self.happens(event not in ("os.remove", "os.rmdir"))


def count_in_workers(disturber: Disturber, folder: Path) -> None:
    """From now on, workers of :mod:`assets.audio.pool`, which must be forks, are disturbed; not this process.

    Args:
        folder: For what each has counted.
    """
    globals()["_within"] = pool._within = _Within(disturber, folder)  # type: ignore[assignment]


def counted(folder: Path) -> int:
    """The most that a worker has done since this was asked last."""
    paths = list(folder.glob("counted.*"))
    most = max((int(path.read_text("ascii")) for path in paths), default=0)
    for path in paths:
        path.unlink()
    return most


class _Within:
    """In a worker: the pool's own function, with the disturbance in place since the first task."""

    def __init__(self, disturber: Disturber, folder: Path) -> None:
        self._disturber = disturber
        self._folder = folder
        self._really = pool._within

    def __reduce__(self) -> str:
        return "_within"  # workers are forks: they have the one that is here

    def __call__(self, *arguments: Any) -> Any:
        if self._disturber.take_over():
            self._disturber.start()
        done = self._really(*arguments)
        (self._folder / f"counted.{os.getpid()}").write_text(str(self._disturber.count), encoding="ascii")
        return done
