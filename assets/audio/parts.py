"""What a pass has found so far: rows in small Parquet parts in the lake while it goes on, one file at its end.

A pass that is killed loses what stands in no part yet; the next one finds the others and goes on from them.
"""

# ruff: noqa: S608 - statements are made of names of columns and quoted paths
from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from validation.batches import ROWS_PER_GROUP, batches_of_file, parquet, quoted
from validation.lake import Lake

# A part for every so-many of the rows that are there, since thousands of parts would take long to read; but no more
# rows than are little in memory.
_SHARE_AT_RISK = 16
_MOST_AT_RISK = 4_096


class Parts:
    """The rows of one pass.

    Args:
        folder: Where its parts lie, relative to the lake's root; the whole file has the folder's name.
        batch: Rows per part: how many are done again after a kill, at least; up to a sixteenth of all.

    Attributes:
        earlier: The files that were there when the pass began.
    """

    def __init__(self, lake: Lake, folder: str, schema: Mapping[str, Any], batch: int) -> None:
        self._lake = lake
        self._folder = folder
        self._schema = schema
        self._batch = batch
        self._pending: list[dict[str, Any]] = []
        self._written = 0
        self._new: list[str] = []
        self.whole = f"{folder}.parquet"
        self.earlier = [path for path in lake.list_files(folder) if path.endswith(".parquet")]
        if lake.exists(self.whole):
            self.earlier.append(self.whole)

    def add(self, row: dict[str, Any]) -> None:
        """Take a row; it is on the disk after at most a batch."""
        self._pending.append(row)
        if len(self._pending) >= max(self._batch, min(self._written // _SHARE_AT_RISK, _MOST_AT_RISK)):
            self.flush()

    @property
    def columns(self) -> list[str]:
        """Of its rows."""
        return list(self._schema)

    def flush(self) -> None:
        """Write what is not on the disk yet, and with it the files that the rows name."""
        if self._pending:
            self._lake.sync()
            part = pl.DataFrame(self._pending, schema=self._schema, orient="row")
            path = f"{self._folder}/{uuid.uuid4().hex}.parquet"
            with self._lake.atomic_write(path) as stream:
                part.write_parquet(stream, compression="zstd")
            self._new.append(path)
            self._written += len(self._pending)
            self._pending = []

    def relation(self, which: Iterable[str]) -> str:
        """DuckDB's relation of the rows in these files, with the columns ``filename`` and ``file_row_number``."""
        # The empty one first: it names and types what earlier versions of a file may lack.
        with_place = {**self._schema, "filename": pl.String, "file_row_number": pl.Int64}
        empty = ", ".join(f'NULL::{_duck(kind)} AS "{name}"' for name, kind in with_place.items())
        found = f"SELECT {empty} WHERE false"
        if paths := list(which):
            read = parquet(self._lake, paths).removesuffix(")")
            read += ", union_by_name = true, filename = true, file_row_number = true)"
            found += f" UNION ALL BY NAME SELECT * FROM {read}"
        columns = ", ".join(f'"{name}"' for name in with_place)
        return f"(SELECT {columns} FROM ({found}))"

    def places(self, which: Iterable[str]) -> str:
        """As :meth:`relation`, but ``file`` and ``line`` are the place of a row, for :meth:`rows_at`."""
        numbers = {path: number for number, path in enumerate([*self.earlier, *self._new])}
        paths = list(which)
        # The first one stands for none: a list of values cannot be empty.
        values = ", ".join(
            ["('', -1)", *(f"({quoted(self._lake.uri(path))}, {numbers[path]})" for path in paths)]
        )
        return (
            "(SELECT found.* EXCLUDE (filename, file_row_number), files.file, found.file_row_number AS line "
            f"FROM {self.relation(paths)} found JOIN (VALUES {values}) files(filename, file) USING (filename))"
        )

    def rows_at(self, places: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
        """The rows at ``file`` and ``line``, in whose order the places are, with what else stands beside those."""
        held = next(places, None)
        for number, path in enumerate([*self.earlier, *self._new]):
            if held is None:
                return
            if held["file"][0] != number:
                continue
            with self._lake.open(path) as stream, pq.ParquetFile(stream) as file:
                start = 0
                for batch in batches_of_file(file):
                    stop = start + batch.height
                    while held is not None:
                        here = held.filter(pl.col("file") == number, pl.col("line") < stop)
                        if here.height:
                            found = self._typed(batch[(here["line"] - start).to_list()])
                            yield found.hstack(here.drop("file", "line"))
                        held = held[here.height :]
                        if held.height:
                            break
                        held = next(places, None)
                    start = stop

    def _typed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows with all columns; earlier versions of a file may lack some."""
        return rows.select(
            (pl.col(name) if name in rows.columns else pl.lit(None)).cast(kind).alias(name)
            for name, kind in self._schema.items()
        )

    @property
    def new(self) -> list[str]:
        """The parts that this pass has written."""
        return list(self._new)

    def replace(self, batches: Iterable[pl.DataFrame]) -> None:
        """Write the pass's one file, and remove the parts."""
        schema = pl.DataFrame(schema=self._schema).to_arrow().schema
        with (
            self._lake.atomic_write(self.whole) as stream,
            pq.ParquetWriter(stream, schema, compression="zstd") as writer,
        ):
            for batch in batches:
                table = batch.select(list(self._schema)).to_arrow().cast(schema)
                writer.write_table(table, row_group_size=ROWS_PER_GROUP)
        self.drop()

    def drop(self) -> None:
        """Remove the parts."""
        for path in self._lake.list_files(self._folder):
            self._lake.remove(path)


_DUCK: dict[Any, str] = {
    pl.String: "VARCHAR",
    pl.Int64: "BIGINT",
    pl.Int32: "INTEGER",
    pl.Float64: "DOUBLE",
    pl.Boolean: "BOOLEAN",
}


def _duck(kind: Any) -> str:
    if isinstance(kind, pl.List):
        return f"{_duck(kind.inner)}[]"
    if isinstance(kind, pl.Struct):
        return "STRUCT(" + ", ".join(f'"{field.name}" {_duck(field.dtype)}' for field in kind.fields) + ")"
    return _DUCK[kind if isinstance(kind, type) else type(kind)]
