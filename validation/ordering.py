"""Wide rows brought into order in little memory: DuckDB's sort holds as many of them as its memory allows."""

from __future__ import annotations

import tempfile
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator

import polars as pl

from validation.scratch import scratch_room

_STRETCH = 8_192
_ROWS = 4_096  # of a batch
_NUMBER = "number of the stretch"


def in_order(rows: Iterable[pl.DataFrame], column: str, stretch: int = _STRETCH) -> Iterator[pl.DataFrame]:
    """The rows in the order of a column of whole numbers, each of which is in one row.

    They pass through a temporary file of this machine, in which the rows of each stretch of numbers can be found; a
    stretch is in memory at once. Rows that come nearly in order cost the least.

    Args:
        stretch: As many numbers, all of which may be there, are in memory at once.

    Raises:
        validation.scratch.ScratchError: if there is no room for the file.
    """
    places: defaultdict[int, array[int]] = defaultdict(lambda: array("q"))
    with scratch_room(), tempfile.TemporaryFile() as file:
        for batch in rows:
            numbered = batch.with_columns((pl.col(column) // stretch).alias(_NUMBER))
            for part in numbered.partition_by(_NUMBER, maintain_order=True):
                places[int(part[_NUMBER][0])].append(file.tell())
                part.drop(_NUMBER).write_ipc_stream(file, compression="lz4")
        for number in sorted(places):
            parts = []
            for place in places[number]:
                file.seek(place)
                parts.append(pl.read_ipc_stream(file))
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
