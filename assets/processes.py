"""Names of processes that no later process bears, whatever number it gets and whatever happens to the clock."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil

_PROC = Path("/proc")
_STATE, _STARTED = 0, 19  # fields of /proc/PID/stat behind the command's name: proc_pid_stat(5), less three


def own_process() -> str:
    """This process's name: host, process id, and when it began, since ids are used again."""
    began = _began(os.getpid())
    assert began is not None
    return f"{socket.gethostname()}:{os.getpid()}:{began}"


def is_alive(process: str) -> bool:
    """Whether the process that :func:`own_process` named still runs; one of another host is taken to."""
    host, number, began = process.rsplit(":", 2)
    return host != socket.gethostname() or _began(int(number)) == began


def _began(number: int) -> str | None:
    """When the process began, in a form that no other process with its number has; ``None`` where it has ended."""
    if not (_PROC / "self" / "stat").is_file():
        try:
            return f"{psutil.Process(number).create_time():.2f}"
        except psutil.NoSuchProcess:
            return None
    try:
        text = (_PROC / str(number) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name stands in brackets and may hold anything, brackets too.
    fields = text.rpartition(")")[2].split()
    if fields[_STATE] in "ZX":  # ended, and nobody has asked how yet
        return None
    # Ticks since the machine started: unlike a time of day they stay when the clock is set.
    boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{fields[_STARTED]}"
