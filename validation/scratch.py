"""Scratch space: what does not fit into memory lies in temporary files here; and what is said when it is full."""

from __future__ import annotations

import errno
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from validation.errors import UserError

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# The words of DuckDB, whose errors have no numbers: the disk's own, and those of its limit, the space that there was.
_WORDS = ("No space left", "max_temp_directory_size")


class ScratchError(UserError):
    """No room for temporary files; names where they lie."""


@contextmanager
def scratch_room(*others: type[Exception]) -> Iterator[None]:
    """A block that may fill scratch space: files of the lake say so themselves, so what else is full is that.

    Args:
        others: Errors of a library that says so in words, besides those of the system and of SQLite.

    Raises:
        ScratchError: naming the folder, the cause and what to do.
    """
    kinds: tuple[type[Exception], ...] = (OSError, sqlite3.Error, *others)
    try:
        yield
    except kinds as error:
        if not _is_full(error):
            raise
        raise ScratchError(
            f"no room for temporary files in {tempfile.gettempdir()}: {str(error).splitlines()[0]}; free some, or set "
            "TMPDIR to a folder with more of it"
        ) from error


def _is_full(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return any(words in str(error) for words in _WORDS)
