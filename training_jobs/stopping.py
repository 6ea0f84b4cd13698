"""SIGTERM as a request that the training loop sees between two steps, and as the way in which a program ends by it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TerminatedError(SystemExit):
    """The program ends because it was asked to by SIGTERM: exit status 143, as if the signal had ended it."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class StopRequest:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self, signum: int, frame: FrameType | None) -> None:
        """A signal handler."""
        self.is_set = True


@contextmanager
def stop_on_sigterm() -> Iterator[StopRequest]:
    """A request that SIGTERM sets, for the length of the block."""
    stop = StopRequest()
    previous = signal.signal(signal.SIGTERM, stop.set)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, previous)
