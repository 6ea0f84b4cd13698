"""Lines of a list by their first word, on disk: lists of any length and in any order can be joined."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from types import TracebackType

from assets.corpora.root import CorpusRoot
from assets.corpora.rows import RowError, rows_of_lines
from assets.corpora.utterance import Row, SourceProblem

_CACHE_KIB = 1 << 12  # of one list; what is above lies on disk


class KeyedLines:
    """The values of a list's keys, each with the place of its line."""

    def __init__(self) -> None:
        # "" is a file of SQLite's own that goes with the connection; short lists stay in memory.
        self._database = sqlite3.connect("")
        self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._database.execute("PRAGMA journal_mode = OFF")  # nobody will roll it back
        self._database.execute(
            "CREATE TABLE line (key TEXT PRIMARY KEY, source TEXT, value TEXT, taken INTEGER) WITHOUT ROWID"
        )

    def __enter__(self) -> KeyedLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def put(self, key: str, source: str, value: str) -> None:
        """Keep a line.

        Raises:
            RowError: if an earlier line has the key.
        """
        statement = "INSERT OR IGNORE INTO line VALUES (?, ?, ?, 0)"
        if not self._database.execute(statement, (key, source, value)).rowcount:
            earlier = self._database.execute("SELECT source FROM line WHERE key = ?", (key,)).fetchone()[0]
            raise RowError("duplicate_id", f"{key!r} stands at {earlier} already", utterance_id=key)

    def get(self, key: str) -> str | None:
        """The value, if there is one."""
        found = self._database.execute("SELECT value FROM line WHERE key = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

    def take(self, key: str) -> str | None:
        """The value, if there is one; its line is not left over."""
        value = self.get(key)
        if value is not None:
            self._database.execute("UPDATE line SET taken = 1 WHERE key = ?", (key,))
        return value

    def left(self) -> Iterator[tuple[str, str]]:
        """Key and place of each line that nobody has taken, in the order of the keys."""
        yield from self._database.execute("SELECT key, source FROM line WHERE taken = 0 ORDER BY key")

    def load(self, root: CorpusRoot, name: str) -> Iterator[SourceProblem]:
        """Keep each line ``<key> <value>`` of a list; yields a problem for each that cannot be kept."""
        for row in rows_of_lines(root, name, self._load_line):
            if isinstance(row, SourceProblem):
                yield row

    def _load_line(self, line: str, source: str) -> Row | None:
        key, value = key_and_value(line)
        self.put(key, source, value)
        return None


def key_and_value(line: str) -> tuple[str, str]:
    """The first word of a line, and the rest, which may be empty."""
    parts = line.split(maxsplit=1)
    return parts[0], parts[1].strip() if len(parts) > 1 else ""
