"""Recordings inside Parquet and Arrow files: bytes in a column, named as :mod:`assets.audio.column_names` has it.

A column holds the bytes themselves, or pairs of ``bytes`` and ``path`` as Hugging Face's datasets have them. What is
read comes in small batches, so that memory does not grow with the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from assets.audio.arrow_batches import MAGIC, refuse_large_batches
from assets.audio.parquet_pages import MOST_PAGE_BYTES, refuse_large_pages
from assets.audio.problem import fault

_BATCH_ROWS = 16
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of some columns; ``first`` is the number of the first one in the file."""

    first: int
    rows: pa.RecordBatch


class ColumnFile:
    """An open Parquet or Arrow file (both of Arrow's formats).

    Raises:
        AudioFaultError: ``decode_error``, on opening and reading, where it is none.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._reading: dict[str, tuple[Iterator[Batch], Batch | None]] = {}
        stream.seek(0)
        start = stream.read(len(MAGIC))
        self._is_parquet = start.startswith(b"PAR1")
        self._is_arrow_file = start == MAGIC
        with _as_faults():
            # Without pre-buffering: it would hold the column of a whole row group, of any size.
            self._parquet = (
                pq.ParquetFile(stream, pre_buffer=False, buffer_size=_READ_BYTES)
                if self._is_parquet
                else None
            )
            self.schema: pa.Schema = (
                self._parquet.schema_arrow if self._parquet is not None else self._arrow().schema
            )

    def batches(self, columns: list[str], first: int = 0) -> Iterator[Batch]:
        """Rows of the columns in the file's order, from some row at or before ``first``.

        Args:
            columns: Names, or ``name.field`` for a part of a column of pairs (of an Arrow file, the whole column).
        """
        with _as_faults():
            yield from self._of_parquet(columns, first) if self._parquet else self._of_arrow(columns)

    def value(self, column: str, row: int) -> bytes | None:
        """The recording in a row; ``None`` where there are no bytes. Rows asked for in order are read once.

        Raises:
            AudioFaultError: ``missing_audio``, where there is no such row or column.
        """
        batches, batch = self._reading.get(column, (None, None))
        if batches is None or batch is None or row < batch.first:
            batches, batch = self._values(column, row), None
        while batch is None or row >= batch.first + batch.rows.num_rows:
            batch = next(batches, None)
            if batch is None:
                raise fault("missing_audio", f"there is no row {row} in the file")
            self._reading[column] = (batches, batch)
        return _bytes_of(batch.rows.column(0), row - batch.first)

    def values(self, column: str) -> Iterator[tuple[int, bytes | None]]:
        """Each row's number and recording."""
        for batch in self._values(column, 0):
            for index in range(batch.rows.num_rows):
                yield batch.first + index, _bytes_of(batch.rows.column(0), index)

    def has_all_bytes(self, column: str) -> bool:
        """Whether the file says that no row of the column lacks its bytes."""
        if self._parquet is None or not holds_recordings(self.schema.field(column).type):
            return False
        path = f"{column}.bytes" if pa.types.is_struct(self.schema.field(column).type) else column
        metadata = self._parquet.metadata
        for group in range(metadata.num_row_groups):
            parts = metadata.row_group(group)
            found = [
                parts.column(n) for n in range(parts.num_columns) if parts.column(n).path_in_schema == path
            ]
            if not found or not found[0].is_stats_set or found[0].statistics.null_count != 0:
                return False
        return True

    def _values(self, column: str, first: int) -> Iterator[Batch]:
        if column not in self.schema.names or not holds_recordings(self.schema.field(column).type):
            raise fault("missing_audio", f"there is no column {column!r} of recordings in the file")
        is_pair = pa.types.is_struct(self.schema.field(column).type)
        return self.batches([f"{column}.bytes" if is_pair and self._is_parquet else column], first)

    def _of_parquet(self, columns: list[str], first: int) -> Iterator[Batch]:
        assert self._parquet is not None
        metadata, number = self._parquet.metadata, 0
        for group in range(metadata.num_row_groups):
            count = metadata.row_group(group).num_rows
            if number + count > first:
                place = number
                largest = self._largest_page(metadata.row_group(group), columns)
                # Each value may be a page of its own, or all of them one page's only value.
                at_once = min(max(MOST_PAGE_BYTES // max(largest, 1), 1), _BATCH_ROWS)
                for batch in self._parquet.iter_batches(at_once, row_groups=[group], columns=columns):
                    yield Batch(place, batch)
                    place += batch.num_rows
            number += count

    def _largest_page(self, group: Any, columns: list[str]) -> int:
        largest = 0
        for number in range(group.num_columns):
            chunk = group.column(number)
            path = chunk.path_in_schema
            if any(path == column or path.startswith(f"{column}.") for column in columns):
                largest = max(largest, refuse_large_pages(self._stream, chunk))
        return largest

    def _of_arrow(self, columns: list[str]) -> Iterator[Batch]:
        names = list(dict.fromkeys(column.partition(".")[0] for column in columns))
        refuse_large_batches(self._stream)
        reader, number = self._arrow(), 0
        batches = (
            (reader.get_batch(n) for n in range(reader.num_record_batches)) if self._is_arrow_file else reader
        )
        for batch in batches:
            chosen = batch.select(names)
            chosen.validate(full=True)  # offsets of a hostile file may lead anywhere
            for start in range(0, chosen.num_rows, _BATCH_ROWS):
                yield Batch(number + start, chosen.slice(start, _BATCH_ROWS))
            number += batch.num_rows

    def _arrow(self) -> Any:
        self._stream.seek(0)
        return pa.ipc.open_file(self._stream) if self._is_arrow_file else pa.ipc.open_stream(self._stream)


def holds_recordings(kind: pa.DataType) -> bool:
    """Whether a column of that type holds bytes, or pairs of ``bytes`` and ``path``."""
    if pa.types.is_struct(kind):
        names = {kind.field(n).name: kind.field(n).type for n in range(kind.num_fields)}
        return set(names) == {"bytes", "path"} and _is_binary(names["bytes"])
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _bytes_of(values: pa.Array, index: int) -> bytes | None:
    if pa.types.is_struct(values.type):
        if not values[index].is_valid:
            return None
        values = values.field("bytes")  # does not know of the pairs that are null
    scalar = values[index]
    return bytes(scalar.as_buffer()) if scalar.is_valid else None


@contextmanager
def _as_faults() -> Iterator[None]:
    try:
        yield
    except (
        pa.ArrowInvalid,
        pa.ArrowNotImplementedError,
        pa.ArrowTypeError,
        pa.ArrowMemoryError,
        OSError,
    ) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the system's own; Arrow's for damaged content have no number
        detail = " ".join(str(error).split())
        raise fault("decode_error", f"is no Parquet or Arrow file that can be read: {detail:.200}") from error
