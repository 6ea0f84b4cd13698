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


def grace_warning(step_s: float, save_s: float, grace_s: float) -> str | None:
    """What to say where a stage that is asked to stop cannot end its step and save it in time; seconds."""
    if step_s + save_s <= grace_s:
        return None
    return (
        f"a step has taken {step_s:.0f} s and its checkpoint {save_s:.0f} s: a stage that is asked to stop is killed "
        f"after {grace_s:g} s, before it has saved; raise limits.grace_s of the profile"
    )
