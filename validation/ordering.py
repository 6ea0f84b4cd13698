"""Wide rows brought into order in little memory: DuckDB's sort takes all of the memory that it may have.

The rows pass through a temporary file of this machine, in which those of each stretch of the order can be found; a
stretch is in memory at once. Rows that come nearly in order cost the least.
"""

# ruff: noqa: S608 - statements are made of our own names
from __future__ import annotations

import io
import struct
import tempfile
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import duckdb
import polars as pl

from validation.allocators import give_back_now
from validation.batches import batches_of
from validation.scratch import scratch_room

_STRETCH = 8_192  # rows; fewer would cost a file of rows in no order too many places
_ROWS = 4_096  # of a batch
_LENGTH = struct.Struct("<q")  # stands before each part: a reader of streams would read the file to its end
_NUMBER = "number of the stretch"
_KEY = "key of the order"


def in_order_of_numbers(rows: Iterable[pl.DataFrame], column: str) -> Iterator[pl.DataFrame]:
    """The rows in the order of a column of whole numbers, each of which is in one row.

    Raises:
        validation.scratch.ScratchError: if there is no room for the file.
    """
    return _in_order(rows, column, lambda numbers: numbers // _STRETCH)


def in_order_of_texts(
    connection: duckdb.DuckDBPyConnection, relation: str, key: str
) -> Iterator[pl.DataFrame]:
    """The rows of a relation in the order of a text, which is that of its bytes.

    Args:
        key: The text, as an expression over a row; no two rows have the same.

    Raises:
        validation.scratch.ScratchError: if there is no room for the file.
    """
    edges: list[str] = []
    sorted_before = 0
    for batch in batches_of(connection, f"SELECT {key} AS key FROM {relation} ORDER BY key"):
        edges += batch["key"].gather_every(_STRETCH, -sorted_before % _STRETCH).to_list()
        sorted_before += batch.height
    starts = pl.Series(edges, dtype=pl.String)
    rows = batches_of(connection, f'SELECT *, {key} AS "{_KEY}" FROM {relation}')
    for batch in _in_order(rows, _KEY, lambda keys: starts.search_sorted(keys, side="right")):
        yield batch.drop(_KEY)


def _in_order(
    rows: Iterable[pl.DataFrame], column: str, stretch_of: Callable[[pl.Series], pl.Series]
) -> Iterator[pl.DataFrame]:
    places: defaultdict[int, array[int]] = defaultdict(lambda: array("q"))
    with scratch_room(), tempfile.TemporaryFile() as file:
        for batch in rows:
            numbered = batch.with_columns(stretch_of(batch[column]).alias(_NUMBER))
            for part in numbered.partition_by(_NUMBER, maintain_order=True):
                places[int(part[_NUMBER][0])].append(file.tell())
                data = part.drop(_NUMBER).write_ipc_stream(None, compression="lz4").getbuffer()
                file.write(_LENGTH.pack(len(data)))
                file.write(data)
        give_back_now()  # what took part in making the rows
        for number in sorted(places):
            parts = []
            for place in places[number]:
                file.seek(place)
                (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
                parts.append(pl.read_ipc_stream(io.BytesIO(file.read(length))))
            together = pl.concat(parts)
            order = together[column].arg_sort()
            for start in range(0, len(order), _ROWS):
                yield together[order[start : start + _ROWS]]


class Rows:
    """The rows of batches, as many at a time as are asked for."""

    def __init__(self, batches: Iterator[pl.DataFrame]) -> None:
        self._batches = batches
        self._held: pl.DataFrame | None = None

    def take(self, rows: int) -> pl.DataFrame | None:
        """The next so many rows, fewer where there are no more; ``None`` where there are none."""
        while (self._held is None or self._held.height < rows) and (
            more := next(self._batches, None)
        ) is not None:
            self._held = more if self._held is None else pl.concat([self._held, more])
        if self._held is None or self._held.is_empty():
            return None
        taken, self._held = self._held[:rows], self._held[rows:]
        return taken
