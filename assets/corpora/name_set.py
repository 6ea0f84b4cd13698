"""A set of names on disk: that of all files of a large corpus would not fit into memory."""

from __future__ import annotations

import sqlite3

_CACHE_KIB = 2_048


class NameSet:
    """Names, any number of them."""

    def __init__(self) -> None:
        # "" is a file of SQLite's own that goes with the connection; what is small stays in memory.
        self._database = sqlite3.connect("")
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")  # nobody will roll it back
        # As bytes: a file's name need not be UTF-8.
        self._database.execute("CREATE TABLE name (name BLOB PRIMARY KEY) WITHOUT ROWID")

    def __contains__(self, name: str) -> bool:
        found = self._database.execute("SELECT 1 FROM name WHERE name = ?", (_key(name),))
        return found.fetchone() is not None

    def add(self, name: str) -> None:
        """Take the name in, unless it is there."""
        self._database.execute("INSERT OR IGNORE INTO name VALUES (?)", (_key(name),))


def _key(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
