"""What a supervised program says: passed on, written to its log, and its last lines repeated after a failure."""

from __future__ import annotations

import collections
import fcntl
import os
import re
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

TAIL_LINES = 30
SAID_BY_SUPERVISOR = "supervisor: "  # how its own lines begin
# What torchrun says once a worker has failed is about torchrun; the worker's own last words stand before it.
_TORCHRUN_REPORT = re.compile(r"^[WE]\d{4} .*torch/distributed/elastic/")


def last_words(log: Path, since: int) -> tuple[str, list[str]]:
    """Why the supervisor ended, in its own words, and the program's last lines.

    Args:
        log: written by a :class:`ProgramOutput`.
        since: bytes that the log had before the program was started; what others said is not of interest.

    Returns:
        The words are empty, and the lines all there are, where the supervisor itself was killed.
    """
    if not log.is_file():
        return "", []
    with log.open("rb") as stream:
        stream.seek(since)
        lines = stream.read().decode(errors="replace").splitlines()
    headlines = [index for index, line in enumerate(lines) if line.startswith(SAID_BY_SUPERVISOR)]
    if not headlines:
        return "", lines[-TAIL_LINES:]
    return lines[headlines[-1]].removeprefix(SAID_BY_SUPERVISOR), lines[headlines[-1] + 1 :]


class ProgramOutput:
    """Copies a program's output to ours and to the log, and keeps its last lines.

    Attributes:
        last_s: when something was last said, on the monotonic clock.
    """

    def __init__(self, log: Path | None, quiet: bool) -> None:
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
        self.last_s = time.monotonic()
        self._log: IO[bytes] | None = log.open("ab", buffering=0) if log is not None else None
        self._quiet = quiet
        self._lost, self._why = 0, ""  # bytes that the log has no room for
        self._tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        self._tail_is_complete = False
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def has_turn(self) -> bool:
        """Whether no other supervisor has the log; from then on until this process ends, none gets it.

        A program whose run was killed may still be saving in the very directory in which the next one is to go on.
        """
        if self._log is not None:
            try:
                fcntl.flock(self._log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        self.last_s = time.monotonic()
        return True

    def pump(self, source: IO[bytes], target: IO[bytes]) -> None:
        """Copy ``source`` to ``target`` in a thread of its own, until it ends."""
        thread = threading.Thread(target=self._copy, args=(source, target), daemon=True)
        thread.start()
        self._threads.append(thread)

    def close(self) -> None:
        """Wait until everything was copied: no writer is left, so the pipes end."""
        for thread in self._threads:
            thread.join()

    def say(self, line: str) -> None:
        """Write a line of the supervisor's own."""
        self._write(f"{SAID_BY_SUPERVISOR}{line}\n".encode(), sys.stderr.buffer)

    def say_failure(self, headline: str, more: Sequence[str] = ()) -> None:
        """The headline, the program's last lines again, because other output may have come after them, and ``more``."""
        self.say(headline)
        for line in [*self._tail, *more]:
            self._write(f"{line}\n".encode(), sys.stderr.buffer)

    def _copy(self, source: IO[bytes], target: IO[bytes]) -> None:
        unfinished = b""
        # As it comes, not line by line: a progress bar redraws one line for minutes.
        while data := os.read(source.fileno(), 1 << 16):
            self.last_s = time.monotonic()
            self._write(data, target)
            *lines, unfinished = (unfinished + data).split(b"\n")
            self._keep(lines)
        self._keep([unfinished])

    def _keep(self, lines: Sequence[bytes]) -> None:
        with self._lock:
            for line in lines:
                text = line.decode(errors="replace")
                self._tail_is_complete = self._tail_is_complete or _TORCHRUN_REPORT.match(text) is not None
                if not self._tail_is_complete and text.strip():
                    self._tail.append(text.rsplit("\r", 1)[-1])

    def _write(self, data: bytes, target: IO[bytes]) -> None:
        with self._lock:
            self._write_to_log(data)
            if self._quiet:
                return
            try:
                target.write(data)
                target.flush()
            except BrokenPipeError:
                # Whoever read along has gone; the program and its log go on.
                self._quiet = True

    def _write_to_log(self, data: bytes) -> None:
        """A full disk costs lines of the log, and not the program, which would wait for ever for us to read on."""
        if self._log is None:
            return
        try:
            if self._lost:
                self._log.write(f"({self._lost} bytes are missing here: {self._why})\n".encode())
                self._lost = 0
            # Without a buffer: what does not fit is not kept for the next.
            written = self._log.write(data)
            self._lost, self._why = len(data) - (written or 0), "the disk was full"
        except OSError as error:
            self._lost, self._why = self._lost + len(data), error.strerror or str(error)
