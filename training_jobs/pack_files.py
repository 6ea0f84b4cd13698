"""The arrays and the list of samples of a pack, written without holding either in memory."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training_jobs.packing import Sample, fill_row
from training_jobs.plan import ARRAYS, ROW_TOKENS_FILE, SAMPLES_FILE, SAMPLES_SCHEMA
from training_jobs.sample_spill import STATED_FILE, SampleSpill
from validation.atomic import replacing
from validation.batches import batches_of, quoted


def write_arrays(
    output_dir: Path,
    spill: SampleSpill,
    members: NDArray[np.int64],
    starts: NDArray[np.int64],
    sequence_length: int,
    padding_id: int,
) -> NDArray[np.int32]:
    """One ``.npy`` per array, written row by row under temporary names; gives the tokens of each row.

    Args:
        members: Samples, row after row.
        starts: Where each row begins in them, and behind the last one their number.
    """
    working = output_dir / ".arrays"
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    rows = len(starts) - 1
    header = {"descr": "<i4", "fortran_order": False, "shape": (rows, sequence_length)}
    row_tokens = np.empty(rows, dtype=np.int32)
    with ExitStack() as stack:
        # No memory maps: what is written through one counts as the process's memory.
        streams = [stack.enter_context((working / f"{name}.npy").open("wb")) for name in ARRAYS]
        for stream in streams:
            np.lib.format.write_array_header_1_0(stream, header)
        for number in range(rows):
            samples = [
                Sample("", ("", ""), *spill.sample(int(index)))
                for index in members[starts[number] : starts[number + 1]]
            ]
            row = fill_row(samples, sequence_length, padding_id)
            row_tokens[number] = row.tokens
            for stream, values_T in zip(
                streams, (row.input_ids_T, row.labels_T, row.position_ids_T), strict=True
            ):
                stream.write(values_T.astype("<i4", copy=False).data)
    for name in ARRAYS:
        (working / f"{name}.npy").replace(output_dir / f"{name}.npy")
    working.rmdir()
    with replacing(output_dir / ROW_TOKENS_FILE) as path, path.open("wb") as stream:
        np.save(stream, row_tokens)
    return row_tokens


def write_samples(
    output_dir: Path,
    folder: Path,
    connection: duckdb.DuckDBPyConnection,
    members: NDArray[np.int64],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int32],
) -> None:
    """``samples.parquet``: one line per sample, with what the spill in ``folder`` has of it."""
    row_of = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    places = pa.table(
        {"place": np.arange(len(members)), "sample": members, "row": row_of, "tokens": lengths[members]}
    )
    connection.register("places", places)
    columns = ", ".join(SAMPLES_SCHEMA)
    statement = f"""SELECT {columns} FROM places AS p
        JOIN (SELECT *, file_row_number AS sample FROM read_parquet(
            {quoted(str(folder / STATED_FILE))}, file_row_number = true)) AS s ON s.sample = p.sample
        ORDER BY place"""  # noqa: S608 - our own names
    schema = pl.DataFrame(schema=SAMPLES_SCHEMA).to_arrow().schema
    with (
        replacing(output_dir / SAMPLES_FILE) as path,
        pq.ParquetWriter(path, schema, compression="zstd") as writer,
    ):
        for batch in batches_of(connection, statement):
            writer.write_table(batch.to_arrow().cast(schema))
    connection.unregister("places")
