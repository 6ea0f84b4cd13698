"""Tables that are written and read a batch at a time, and DuckDB over the lake within a fixed memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from validation.fingerprint_match import Clips
from validation.lake import Lake, MissingTableError
from validation.schemas import TableName, empty_frame, validate_table

# DuckDB writes what is more to its temporary directory.
_MEMORY = "768MB"
_CLIPS_AT_ONCE = 4096
ROWS_PER_GROUP = 16_384


def write_batches(lake: Lake, name: TableName, partition: str, batches: Iterable[pl.DataFrame]) -> int:
    """Write a table of which one batch is in memory at once, each checked against the contract; gives its rows.

    Raises:
        validation.schemas.ContractError: naming partition, row, column, check and value.
    """
    rows = 0
    schema = empty_frame(name).to_arrow().schema
    with (
        lake.atomic_write(lake.table_path(name, partition)) as stream,
        pq.ParquetWriter(stream, schema, compression="zstd") as writer,
    ):
        for batch in _regrouped(batches):
            checked = validate_table(name, partition, batch)
            writer.write_table(checked.to_arrow().cast(schema), row_group_size=batch.height)
            rows += batch.height
    return rows


def _regrouped(batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows in batches of one size, so that the same rows always give the same file."""
    held: list[pl.DataFrame] = []
    for batch in batches:
        held.append(batch)
        if sum(one.height for one in held) >= ROWS_PER_GROUP:
            whole = pl.concat(held)
            full = whole.height - whole.height % ROWS_PER_GROUP
            yield from (whole[start : start + ROWS_PER_GROUP] for start in range(0, full, ROWS_PER_GROUP))
            held = [whole[full:]]
    if held and (rest := pl.concat(held)).height:
        yield rest


@contextmanager
def database(lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory DuckDB that reads the lake's files."""
    with tempfile.TemporaryDirectory() as spill:
        threads = len(os.sched_getaffinity(0))
        options: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": _MEMORY,
            "temp_directory": spill,
            "threads": threads,
            "preserve_insertion_order": False,
        }
        with duckdb.connect(config=options) as connection:
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
    return "read_parquet([" + ", ".join(quoted(lake.uri(path)) for path in paths) + "])"


def quoted(text: str) -> str:
    """The text as a string of SQL."""
    return "'" + text.replace("'", "''") + "'"


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
    connection: duckdb.DuckDBPyConnection, statement: str, parameters: Sequence[object] = ()
) -> pl.DataFrame:
    """All rows of a statement, which must be few."""
    frame = pl.from_arrow(connection.sql(statement, params=list(parameters)).to_arrow_table())
    assert isinstance(frame, pl.DataFrame)
    return frame


class Fingerprints:
    """The fingerprints of some corpora, numbered in their order."""

    def __init__(self, lake: Lake, corpora: Sequence[str]) -> None:
        self._lake = lake
        self._paths = [lake.table_path("audio_fingerprints", corpus) for corpus in corpora]
        files_of(lake, "audio_fingerprints", corpora)  # says which one is missing

    def clips(self) -> Iterator[Clips]:
        """All of them, in order."""
        first = 0
        for batch in self._batches(["frames"]):
            clips = _clips(first, batch["frames"])
            first += len(clips)
            yield clips

    def of_digests(self, digests: set[str], at_once: int) -> Iterator[tuple[list[str], Clips]]:
        """Those of these digests, numbered anew from 0, about ``at_once`` together; each digest once."""
        first, held = 0, []
        left = set(digests)
        for batch in self._batches(["audio_digest", "frames"]):
            part = batch.filter(pl.col("audio_digest").is_in(left)).unique(
                "audio_digest", maintain_order=True
            )
            left.difference_update(part["audio_digest"].to_list())
            held.append(part)
            if sum(one.height for one in held) >= at_once:
                yield _named(first, pl.concat(held))
                first += sum(one.height for one in held)
                held = []
        if held and (rest := pl.concat(held)).height:
            yield _named(first, rest)

    def digests(self, numbers: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[int, str]:
        """Digests of the clips with these numbers."""
        found: dict[int, str] = {}
        wanted = np.unique(numbers)
        first = 0
        for batch in self._batches(["audio_digest"]):
            here = wanted[(wanted >= first) & (wanted < first + batch.height)]
            found.update(
                zip(here.tolist(), batch["audio_digest"].gather(here - first).to_list(), strict=True)
            )
            first += batch.height
        return found

    def _batches(self, columns: list[str]) -> Iterator[pl.DataFrame]:
        for path in self._paths:
            with self._lake.open(path) as stream, pq.ParquetFile(stream) as file:
                for batch in file.iter_batches(_CLIPS_AT_ONCE, columns=columns):
                    frame = pl.from_arrow(pa.Table.from_batches([batch]))
                    assert isinstance(frame, pl.DataFrame)
                    yield frame


def _named(first: int, frame: pl.DataFrame) -> tuple[list[str], Clips]:
    return frame["audio_digest"].to_list(), _clips(first, frame["frames"])


def _clips(first: int, frames: pl.Series) -> Clips:
    bounds = np.concatenate([[0], np.cumsum(frames.list.len().to_numpy())]).astype(np.int64)
    words = frames.explode(empty_as_null=False).to_numpy() if bounds[-1] else np.zeros(0, dtype=np.uint32)
    return Clips(first, words, bounds)
