"""Sorted Parquet files of the lake as one sorted stream, of which some batches are in memory at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl
import pyarrow.parquet as pq

from validation.batches import batches_of_file
from validation.lake import Lake

_ROWS = 256


class Sorted:
    """Batches in the order of a column of text, to be taken up to some value of it."""

    def __init__(self, batches: Iterator[pl.DataFrame], column: str) -> None:
        self._batches = (batch for batch in batches if batch.height)
        self._column = column
        self._held = next(self._batches, None)

    @property
    def last(self) -> str | None:
        """The value up to which all is known; ``None`` at the end."""
        return None if self._held is None else str(self._held[self._column][-1])

    def take(self, bound: str) -> pl.DataFrame:
        """What is at most ``bound``, which is no more than :attr:`last`."""
        assert self._held is not None
        taken = self._held.filter(pl.col(self._column) <= bound)
        left = self._held[taken.height :]
        self._held = left if left.height else next(self._batches, None)
        return taken


def merged(
    lake: Lake, paths: Sequence[str], column: str, condition: pl.Expr, wanted: Sorted
) -> Iterator[pl.DataFrame]:
    """The rows of the files whose value of ``column`` is among the wanted ones, each value once, in order.

    Args:
        paths: Files that are each sorted by the column; of two that hold a value, either may give it.
        condition: Rows for which it does not hold are passed over.
    """
    streams = [Sorted(_read(lake, chain, condition), column) for chain in _chains(lake, paths, column)]
    while wanted.last is not None and (active := [one for one in streams if one.last is not None]):
        bound = min(str(one.last) for one in (wanted, *active))
        found = pl.concat([one.take(bound) for one in active])
        yield found.join(wanted.take(bound), on=column, how="semi").unique(column).sort(column)


def _read(lake: Lake, paths: Sequence[str], condition: pl.Expr) -> Iterator[pl.DataFrame]:
    for path in paths:
        with lake.open(path) as stream, pq.ParquetFile(stream) as file:
            for batch in batches_of_file(file, _ROWS):
                yield batch.filter(condition)


def _chains(lake: Lake, paths: Sequence[str], column: str) -> list[list[str]]:
    """The files in as few rows as may be, each beginning after the one before it ends: the parts of a pass are one."""
    spans = [(span, path) for path in paths if (span := _span(lake, path, column)) is not None]
    chains: list[tuple[str, list[str]]] = []
    for (first, last), path in sorted(spans):
        for number, (end, chain) in enumerate(chains):
            if end < first:
                chains[number] = (last, [*chain, path])
                break
        else:
            chains.append((last, [path]))
    return [chain for _, chain in chains]


def _span(lake: Lake, path: str, column: str) -> tuple[str, str] | None:
    """First and last value of a file; ``None`` where it has no rows."""
    with lake.open(path) as stream, pq.ParquetFile(stream) as file:
        if not file.metadata.num_rows:
            return None
        edges = (0, file.num_row_groups - 1)
        first, last = (file.read_row_group(group, columns=[column]).column(0) for group in edges)
        return first[0].as_py(), last[-1].as_py()
