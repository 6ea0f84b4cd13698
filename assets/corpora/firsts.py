"""Which row of a corpus had a name first, on disk: names of any number and in any order are told apart."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from types import TracebackType

_CACHE_KIB = 2_048
_INSERT = "INSERT OR IGNORE INTO first VALUES (?, ?, ?)"

Named = tuple[
    str, str, str
]  # a name, the source of the row that has it, and what the first one decides for all


class Firsts:
    """The first row of each name."""

    def __init__(self) -> None:
        # "" is a file of SQLite's own that goes with the connection; what is small stays in memory.
        self._database = sqlite3.connect("")
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")  # nobody will roll it back
        self._database.execute(
            "CREATE TABLE first (name TEXT PRIMARY KEY, source TEXT, decided TEXT) WITHOUT ROWID"
        )

    def __enter__(self) -> Firsts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def of(self, rows: Sequence[Named]) -> list[Named]:
        """For each row the first one of its name, which may be itself or one of an earlier call."""
        inserted = self._database.executemany(_INSERT, rows).rowcount
        if inserted == len(rows):  # nearly always, and quicker by half
            return list(rows)
        statement = "SELECT name, source, decided FROM first WHERE name = ?"
        return [self._database.execute(statement, (row[0],)).fetchone() for row in rows]
