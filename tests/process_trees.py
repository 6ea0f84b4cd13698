"""Processes that a test starts, and their end with all that they have started themselves."""

from __future__ import annotations

import signal
import subprocess
from contextlib import suppress
from typing import Any, Protocol

import psutil

_ENDS_WITHIN_S = 60.0


class StartProcess(Protocol):
    """What the fixture ``start_process`` gives: as :class:`subprocess.Popen`."""

    def __call__(self, command: list[str], **options: Any) -> subprocess.Popen[Any]: ...


def end_tree(process: subprocess.Popen[Any]) -> None:
    """SIGKILL a process and all that it has started, and wait until they are gone."""
    if process.poll() is not None:
        return
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in tree:
        with suppress(psutil.NoSuchProcess):  # it has ended since, maybe with its parent
            member.kill()
    process.wait(_ENDS_WITHIN_S)
    psutil.wait_procs(tree, timeout=_ENDS_WITHIN_S)


def deaf() -> None:
    """For ``preexec_fn``: as a shell starts a background job. What is ignored stays ignored in all that it starts."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)
