"""What a pass over a corpus' recordings knows already, what it has yet to find, and what is left of it at its end."""

# ruff: noqa: S608 - statements are made of names of columns and quoted paths
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl

from assets.audio.audio_pass import RECORDING
from assets.audio.parts import Parts
from validation.batches import batches_of
from validation.ordering import in_order_of_numbers

# DuckDB's twin of assets.audio.members.split_member: the file in which a recording lies.
_FILE = (
    r"CASE WHEN audio_offset IS NULL THEN audio_uri "
    r"ELSE regexp_extract(audio_uri, '(?is)^(.*?\.(?:tar|parquet|arrow))!', 1) END"
)

_LINE_BITS = 40  # of a number for both file and line, which takes a fraction of the memory of a pair


def same_key(left: str, right: str, columns: Iterable[str]) -> str:
    """SQL's condition that two rows have the same key."""
    return " AND ".join(f"{left}.{name} IS NOT DISTINCT FROM {right}.{name}" for name in columns)


def _key_sql(columns: Iterable[str]) -> str:
    """What stands for a key in tables of all keys: as themselves they are ten times as large."""
    told = ", ".join(f"coalesce({name}::VARCHAR, '-')" for name in columns)
    return f"md5_number(concat_ws(' ', {told}))"


def run(connection: duckdb.DuckDBPyConnection, statement: str) -> list[Any]:
    """Do what the statement says; all of its rows, which must be few."""
    # Until they are fetched, the connection does nothing else.
    rows: list[Any] = connection.execute(statement).fetchall()
    return rows


@dataclass(frozen=True, slots=True)
class Missing:
    """How many keys a pass was asked for, how many of them it does not know, and of how many recordings."""

    wanted: int
    missing: int
    recordings: int


class Memory:
    """The rows of :class:`assets.audio.parts.Parts`, by their keys.

    Args:
        connection: From :func:`validation.batches.database`; it keeps tables of this pass.
        usable: SQL's condition that a row of an earlier pass is still true.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, parts: Parts, key: tuple[str, ...], usable: str
    ) -> None:
        self._connection = connection
        self._parts = parts
        self._key = key
        run(
            connection,
            f"CREATE OR REPLACE TEMP TABLE known AS {self._places(parts.earlier)} WHERE {usable}",
        )

    def find_missing(self, rows: str) -> Missing:
        """Look for keys of which nothing is known.

        Args:
            rows: DuckDB's relation of rows with the key, the columns of recordings, and ``number``, their order.
        """
        keys = ", ".join(self._key)
        place = "{'audio_uri': audio_uri, 'audio_offset': audio_offset, 'audio_bytes': audio_bytes}"
        wanted = f"SELECT *, {_key_sql(self._key)} AS key FROM {rows}"
        run(
            self._connection,
            "CREATE OR REPLACE TEMP TABLE missing AS SELECT * EXCLUDE (place), unnest(place) FROM ("
            f"SELECT {keys}, arg_min({place}, number) AS place, min(number) AS number "
            f"FROM ({wanted}) ANTI JOIN known USING (key) GROUP BY {keys})",
        )
        recordings = f"SELECT DISTINCT {', '.join(RECORDING)} FROM missing"
        return Missing(
            self._count(f"SELECT DISTINCT key FROM ({wanted})"),
            self._count("SELECT 1 FROM missing"),
            self._count(recordings),
        )

    def missing(self) -> Iterator[pl.DataFrame]:
        """The missing keys, those of a recording together, and so the members of a tar, as they lie in it."""
        recording = ", ".join(RECORDING)
        return batches_of(
            self._connection,
            f"SELECT m.* FROM (SELECT *, {_FILE} AS file FROM missing) m "
            f"JOIN (SELECT {_FILE} AS file, min(number) AS place FROM missing GROUP BY ALL) f ON m.file = f.file "
            f"JOIN (SELECT {recording}, min(number) AS place FROM missing GROUP BY ALL) r "
            f"ON {same_key('m', 'r', RECORDING)} "
            "ORDER BY f.place, m.audio_offset NULLS FIRST, r.place, m.number",
        )

    def settle(self, rows: str, each: bool = False) -> str:
        """Write the pass's one file, with what is known of just these rows, in their order, and remove the parts.

        Args:
            each: Whether it is to have a row for each of the rows, not for each of their keys.

        Returns:
            DuckDB's relation of that file.
        """
        self._parts.flush()
        parts = self._parts
        wanted = f"SELECT {_key_sql(self._key)} AS key, number FROM {rows}"
        if not each:
            wanted = f"SELECT key, min(number) AS number FROM ({wanted}) GROUP BY key"
        # Two parts may hold the same key, one of them from a pass that was killed.
        places = (
            f"SELECT key, min((file::BIGINT << {_LINE_BITS}) + line) AS place "
            f"FROM (SELECT * FROM known UNION ALL {self._places(parts.new)}) GROUP BY key"
        )
        run(
            self._connection,
            "CREATE OR REPLACE TEMP TABLE chosen AS SELECT number, "
            f"place >> {_LINE_BITS} AS file, place & {(1 << _LINE_BITS) - 1} AS line "
            f"FROM ({wanted}) JOIN ({places}) USING (key)",
        )
        chosen = batches_of(self._connection, "SELECT file, line, number FROM chosen ORDER BY ALL")
        found = in_order_of_numbers(parts.rows_at(chosen), "number")
        parts.replace(found)
        return parts.relation([parts.whole])

    def _places(self, paths: Iterable[str]) -> str:
        """Statement for the keys of the rows in these files, and where each stands."""
        return f"SELECT {_key_sql(self._key)} AS key, file, line FROM {self._parts.places(paths)}"

    def _count(self, statement: str) -> int:
        ((count,),) = run(self._connection, f"SELECT count(*) FROM ({statement})")
        return int(count)
