"""Tables that are written and read a batch at a time, and DuckDB over the lake within a fixed memory."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from validation.lake import Lake, MissingTableError
from validation.local_files import spill_folder
from validation.schemas import ContractError, TableName, empty_frame, validate_table
from validation.scratch import scratch_room

# Of DuckDB; it writes what is more to its temporary directory, but not what its threads are at work on: with eight of
# them, a join of a million rows with another million has no room in as much.
_MEMORY_MB = 256
_MB_PER_THREAD = 128
# Small, so that a full batch of wide rows, a few times over while it is worked on, is little beside the libraries.
ROWS_PER_GROUP = 4_096
_PATTERN = re.compile(r"[\[*?]")
_ROWS_READ = 2_048


def write_batches(
    lake: Lake,
    name: TableName,
    partition: str,
    batches: Iterable[pl.DataFrame],
    rows_per_group: int = ROWS_PER_GROUP,
) -> int:
    """Write a table of which one batch is in memory at once, each checked against the contract; gives its rows.

    Args:
        rows_per_group: Fewer where rows are large; always as many for one table, so that it is the same file.

    Raises:
        validation.schemas.ContractError: naming partition, row, column, check and value, after the last batch: all
            failures stand in the table ``contract_failures``.
    """
    rows = 0
    broken: ContractError | None = None
    schema = empty_frame(name).to_arrow().schema
    try:
        with (
            lake.atomic_write(lake.table_path(name, partition)) as stream,
            pq.ParquetWriter(stream, schema, compression="zstd", use_dictionary=False) as writer,
        ):
            for batch in _regrouped(batches, rows_per_group):
                try:
                    checked = validate_table(name, partition, batch, first_row=rows)
                except ContractError as error:
                    broken = error if broken is None else broken.joined(error)
                else:
                    writer.write_table(checked.to_arrow().cast(schema), row_group_size=batch.height)
                    del checked  # it would be held while the next batch is made
                rows += batch.height
            if broken is not None:
                raise broken
    except ContractError as error:
        if error is not broken:  # of another table, written while this one's batches were made
            raise
        raise lake.keep_failures(error) from error
    lake.drop_failures(name, partition)
    return rows


def _regrouped(batches: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The same rows in batches of one size, so that the same rows always give the same file."""
    held: list[pl.DataFrame] = []
    for batch in batches:
        held.append(batch)
        if sum(one.height for one in held) >= rows:
            whole = pl.concat(held)
            full = whole.height - whole.height % rows
            yield from (whole[start : start + rows] for start in range(0, full, rows))
            held = [whole[full:]]
    if held and (rest := pl.concat(held)).height:
        yield rest


class Spool:
    """Rows set aside in a temporary file of this machine while another table is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._writer: pa.ipc.RecordBatchStreamWriter | None = None

    def add(self, frame: pl.DataFrame) -> None:
        """Set these rows aside, behind those before."""
        table = frame.to_arrow()
        if self._writer is None:
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            self._writer = pa.ipc.new_stream(self._file, table.schema, options=options)
        self._writer.write_table(table)

    def batches(self) -> Iterator[pl.DataFrame]:
        """All rows in their order; no more can be added."""
        if self._writer is None:
            return
        self._writer.close()
        self._file.seek(0)
        with pa.ipc.open_stream(self._file) as reader:
            for batch in reader:
                frame = pl.from_arrow(pa.Table.from_batches([batch]))
                assert isinstance(frame, pl.DataFrame)
                yield frame


@contextmanager
def spool() -> Iterator[Spool]:
    """A :class:`Spool` whose file goes with the block."""
    with scratch_room(), tempfile.TemporaryFile() as file:
        yield Spool(file)


@contextmanager
def database(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory DuckDB that reads the lake's files, within a fixed memory on any number of cores."""
    with scratch_room(duckdb.Error), spill_folder() as spill:
        threads = min(len(os.sched_getaffinity(0)), _MEMORY_MB // _MB_PER_THREAD)
        options: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": f"{_MEMORY_MB}MB",
            "temp_directory": str(spill),
            "threads": threads,
            "preserve_insertion_order": False,
        }
        with lake.asked_once(), duckdb.connect(config=options) as connection:
            connection.execute("SET enable_progress_bar = false")
            if not lake.is_local:
                connection.register_filesystem(lake.filesystem)
            yield connection


def files_of(lake: Lake, name: TableName, corpora: Sequence[str]) -> str:
    """DuckDB's ``read_parquet`` over these partitions.

    Raises:
        MissingTableError: naming the partition that has not been written.
    """
    for corpus in corpora:
        if not lake.has_table(name, corpus):
            raise MissingTableError(f"table {name} has no partition {corpus!r} in {lake.url}")
    return parquet(lake, [lake.table_path(name, corpus) for corpus in corpora])


def parquet(lake: Lake, paths: Sequence[str]) -> str:
    """DuckDB's ``read_parquet`` over these files of the lake."""
    named = quoted_path if lake.is_local else quoted
    return "read_parquet([" + ", ".join(named(lake.uri(path)) for path in paths) + "])"


def quoted(text: str) -> str:
    """The text as a string of SQL."""
    return "'" + text.replace("'", "''") + "'"


def quoted_path(path: str) -> str:
    """The path of a local file as a string of SQL; DuckDB would take a folder called ``run[1]`` for a pattern."""
    return quoted(_PATTERN.sub(r"[\g<0>]", path))


def batches_of(
    connection: duckdb.DuckDBPyConnection, statement: str, parameters: Sequence[object] = ()
) -> Iterator[pl.DataFrame]:
    """The rows of a statement, a batch at a time."""
    reader = connection.sql(statement, params=list(parameters)).to_arrow_reader(ROWS_PER_GROUP)
    for batch in reader:
        frame = pl.from_arrow(pa.Table.from_batches([batch]))
        assert isinstance(frame, pl.DataFrame)
        yield frame


def frame_of(
    connection: duckdb.DuckDBPyConnection,
    statement: str,
    parameters: Sequence[object] | dict[str, object] = (),
) -> pl.DataFrame:
    """All rows of a statement, which must be few."""
    given = parameters if isinstance(parameters, dict) else list(parameters)
    frame = pl.from_arrow(connection.sql(statement, params=given).to_arrow_table())
    assert isinstance(frame, pl.DataFrame)
    return frame


def read_batches(
    lake: Lake,
    name: TableName,
    partition: str,
    columns: Sequence[str] | None = None,
    rows: int = _ROWS_READ,
) -> Iterator[pl.DataFrame]:
    """The rows of a partition in their order, at most ``rows`` at a time.

    Raises:
        MissingTableError: if the partition has not been written.
    """
    if not lake.has_table(name, partition):
        raise MissingTableError(f"table {name} has no partition {partition!r} in {lake.url}")
    with lake.open(lake.table_path(name, partition)) as stream, pq.ParquetFile(stream) as file:
        yield from batches_of_file(file, rows, columns)


def batches_of_file(
    file: pq.ParquetFile, rows: int = _ROWS_READ, columns: Sequence[str] | None = None
) -> Iterator[pl.DataFrame]:
    """The rows of an open Parquet file in their order, at most ``rows`` at a time."""
    wanted = None if columns is None else list(columns)
    # Asked for at once, all groups would be read ahead, and stay in memory.
    for group in range(file.metadata.num_row_groups):
        for batch in file.iter_batches(rows, row_groups=[group], columns=wanted):
            frame = pl.from_arrow(pa.Table.from_batches([batch]))
            assert isinstance(frame, pl.DataFrame)
            yield frame
