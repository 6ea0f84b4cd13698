"""The files below a root: their names, sizes and versions, on disk, so that any number of them takes no memory."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

_CACHE_KIB = 1 << 11
_AT_ONCE = 4096
_PUT_AT_ONCE = 32_768


@dataclass(frozen=True, slots=True)
class FileFact:
    """Size in bytes and version (time of change, or an object store's ETag) of one file.

    Attributes:
        is_file: Whether it can be read; ``False`` for what only has a file's name, such as a link to nothing.
        is_link: Whether it is a link, which may lead anywhere.
    """

    size: int
    version: str
    is_file: bool = True
    is_link: bool = False


class Listing(Mapping[str, FileFact]):
    """Facts by name; names come in the order of their bytes. Threads may share it."""

    def __init__(self, found: Iterable[tuple[str, FileFact]]) -> None:
        self._lock = threading.Lock()
        # A file of SQLite's own that goes with the connection.
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")
        # Names as bytes: what a file system calls a file need not be UTF-8.
        self._database.execute(
            "CREATE TABLE file (name BLOB PRIMARY KEY, size INTEGER, version TEXT, is_file INTEGER, "
            "is_link INTEGER) WITHOUT ROWID"
        )
        rows = (
            (os.fsencode(name), fact.size, fact.version, fact.is_file, fact.is_link) for name, fact in found
        )
        # A folder's files come in any order; in order they are put in quicker.
        while some := sorted(islice(rows, _PUT_AT_ONCE)):
            self._database.executemany("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?)", some)
        self._count: int = self._database.execute("SELECT count(*) FROM file").fetchone()[0]

    def __getitem__(self, name: str) -> FileFact:
        fact = self.fact(name)
        if fact is None:
            raise KeyError(name)
        return fact

    def fact(self, name: str) -> FileFact | None:
        """The file's facts, if there is such a file."""
        row = self._one("SELECT size, version, is_file, is_link FROM file WHERE name = ?", (_encoded(name),))
        return None if row is None else FileFact(row[0], row[1], bool(row[2]), bool(row[3]))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (
            self._one("SELECT 1 FROM file WHERE name = ?", (_encoded(name),)) is not None
        )

    def __iter__(self) -> Iterator[str]:
        return self.below("")

    def __len__(self) -> int:
        return self._count

    def below(self, folder: str) -> Iterator[str]:
        """Names of the files below a folder (empty: all of them), in their order."""
        return self.starting(f"{folder}/" if folder else "")

    def starting(self, start: str) -> Iterator[str]:
        """Names of the files that begin so, in their order."""
        for name, *_ in self._rows(start):
            yield os.fsdecode(name)

    def _rows(self, named: str = "") -> Iterator[tuple[bytes, int, str, int, int]]:
        start = _encoded(named)
        # Of all that begins so, the next greater name has the byte after the last one, which is a slash's or a dot's.
        end = start[:-1] + bytes([start[-1] + 1]) if start else None
        after = b""
        while True:
            # In pages, each found anew: other questions may be asked, and in other threads, between two of them.
            rows = self._all(
                "SELECT name, size, version, is_file, is_link FROM file WHERE name >= ? AND name > ? "
                "AND (? IS NULL OR name < ?) ORDER BY name LIMIT ?",
                (start, after, end, end, _AT_ONCE),
            )
            yield from rows
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1][0]

    def digest(self, more: Iterable[tuple[str, str]] = ()) -> str:
        """SHA-256 of every name, size and version, and of ``more``."""
        state = hashlib.sha256()
        for name, size, version, *_ in self._rows():
            state.update(b"%b\0%d\0%b\0" % (name, size, version.encode()))
        for pair in more:
            state.update(json.dumps(pair).encode())
        return state.hexdigest()

    def _one(self, statement: str, values: tuple[object, ...]) -> tuple[Any, ...] | None:
        with self._lock:
            row: tuple[Any, ...] | None = self._database.execute(statement, values).fetchone()
        return row

    def _all(self, statement: str, values: tuple[object, ...]) -> list[tuple[bytes, int, str, int, int]]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()


def _encoded(name: str) -> bytes:
    try:
        return os.fsencode(name)
    except UnicodeEncodeError:  # a corpus may name what no file can be called
        return name.encode("utf-8", "surrogatepass")
