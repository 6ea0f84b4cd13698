"""Processes that start warm: forks of one that has imported everything and done nothing."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_LIMIT_S = 600  # of one fork; none takes a hundredth of it
_BE_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h


def adopt_orphans() -> None:
    """From now on, what outlives a fork of this process is waited for here."""
    ctypes.CDLL(None, use_errno=True).prctl(_BE_SUBREAPER, 1, 0, 0, 0)


def in_fork(do: Callable[[], Any], told: Path) -> tuple[int, Any]:
    """Do it in a process, and a group, of its own, and wait until the whole group is gone.

    Args:
        told: A file for what it says.

    Returns:
        The exit code, less than zero for a signal; and what ``do`` gave, which must be JSON, or how it failed.
    """
    told.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setsid()
            signal.alarm(_LIMIT_S)
            told.write_text(json.dumps(do()), encoding="utf-8")
            code = 0
        except AssertionError as error:
            told.write_text(json.dumps(str(error) or traceback.format_exc()), encoding="utf-8")
        except BaseException:  # it must not go on as the process that it is a fork of
            told.write_text(json.dumps(traceback.format_exc()), encoding="utf-8")
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    said = json.loads(told.read_text("utf-8")) if told.exists() else None
    return os.waitstatus_to_exitcode(status), said
