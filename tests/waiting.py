"""Waiting for something that another process does, with an end to the waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

AnswerT = TypeVar("AnswerT")


def until(
    condition: Callable[[], AnswerT], what: str, within_s: float = 180.0, every_s: float = 0.1
) -> AnswerT:
    """Ask until the answer is true, and return it; fail, naming ``what``, after ``within_s`` seconds."""
    deadline = time.monotonic() + within_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {within_s:.0f} s for {what}"
        time.sleep(every_s)
    return answer
