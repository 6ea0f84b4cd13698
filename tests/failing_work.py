"""Work on a file that crashes or hangs, for workers: in a module that takes them nothing to import."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

from assets.audio.work import SourceTask, do_source


def die_at_b(task: SourceTask) -> list[Any]:
    """Stands in for a decoder that crashes on one file, or on one member."""
    if _has_b(task):
        os.kill(os.getpid(), signal.SIGKILL)
    return do_source(task)


def hang_at_b(task: SourceTask) -> list[Any]:
    """Stands in for a decoder that never comes back from one file."""
    if _has_b(task):
        threading.Event().wait()
    return do_source(task)


def _has_b(task: SourceTask) -> bool:
    return any(recording.uri.endswith("b.wav") for recording in task.recordings)
