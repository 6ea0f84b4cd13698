"""The arrays and the list of samples of a pack, written without holding either in memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training_jobs.packing import PackedRow, Sample, fill_row
from training_jobs.plan import (
    ARRAYS,
    ROW_SAMPLES_FILE,
    ROW_TOKENS_FILE,
    SAMPLE_TOKENS_FILE,
    SAMPLES_FILE,
    SAMPLES_SCHEMA,
)
from training_jobs.sample_spill import STATED_FILE, SampleSpill
from validation.atomic import replacing
from validation.batches import batches_of_file
from validation.ordering import in_order_of_numbers


def write_arrays(
    output_dir: Path,
    spill: SampleSpill,
    members: NDArray[np.int64],
    starts: NDArray[np.int64],
    sequence_length: int,
    padding_id: int,
) -> NDArray[np.int32]:
    """The arrays, and the tokens of each row, which are given back, too.

    Args:
        members: Samples, row after row.
        starts: Where each row begins in them, and behind the last one their number.
    """
    row_tokens = np.empty(len(starts) - 1, dtype=np.int32)

    def rows() -> Iterator[PackedRow]:
        for number in range(len(row_tokens)):
            samples = [
                Sample("", ("", ""), *spill.sample(int(index)))
                for index in members[starts[number] : starts[number + 1]]
            ]
            row = fill_row(samples, sequence_length, padding_id)
            row_tokens[number] = row.tokens
            yield row

    write_rows(output_dir, rows(), len(row_tokens), sequence_length)
    with replacing(output_dir / ROW_TOKENS_FILE) as path, path.open("wb") as stream:
        np.save(stream, row_tokens)
    return row_tokens


def write_rows(output_dir: Path, rows: Iterable[PackedRow], count: int, sequence_length: int) -> None:
    """The arrays of ``count`` rows, of which one is in memory at once; they take their places when all are whole."""
    working = output_dir / ".arrays"
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    shapes = {"<i4": (count, sequence_length), "|u1": (count, -(-sequence_length // 8))}
    with ExitStack() as stack:
        # No memory maps: what is written through one counts as the process's memory.
        ids, learnt = (stack.enter_context((working / f"{name}.npy").open("wb")) for name in ARRAYS)
        for stream, (kind, shape) in zip((ids, learnt), shapes.items(), strict=True):
            np.lib.format.write_array_header_1_0(
                stream, {"descr": kind, "fortran_order": False, "shape": shape}
            )
        for row in rows:
            ids.write(row.input_ids_T.astype("<i4", copy=False).data)
            learnt.write(np.packbits(row.is_learnt_T).data)
    for name in ARRAYS:
        (working / f"{name}.npy").replace(output_dir / f"{name}.npy")
    working.rmdir()


def write_sample_tokens(
    output_dir: Path, starts: NDArray[np.int64], tokens: NDArray[np.int32], tasks: NDArray[np.int32]
) -> None:
    """Where each row's samples begin, and of each sample its tokens and the number of its task, row after row."""
    for name, array in ((ROW_SAMPLES_FILE, starts), (SAMPLE_TOKENS_FILE, np.stack([tokens, tasks], axis=1))):
        with replacing(output_dir / name) as path, path.open("wb") as stream:
            np.save(stream, array)


def write_samples(
    output_dir: Path,
    folder: Path,
    members: NDArray[np.int64],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int32],
) -> None:
    """``samples.parquet``: one line per sample, with what the spill in ``folder`` has of it."""
    schema = pl.DataFrame(schema=SAMPLES_SCHEMA).to_arrow().schema
    with (
        replacing(output_dir / SAMPLES_FILE) as path,
        pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer,
        pq.ParquetFile(folder / STATED_FILE) as stated,
    ):
        lines = _stated_lines(batches_of_file(stated), members, starts, lengths)
        for batch in in_order_of_numbers(lines, "place"):
            writer.write_table(batch.select(list(SAMPLES_SCHEMA)).to_arrow().cast(schema))


def _stated_lines(
    stated: Iterator[pl.DataFrame],
    members: NDArray[np.int64],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int32],
) -> Iterator[pl.DataFrame]:
    """What is stated of each sample, once for each ``place`` in ``members`` where it is."""
    places = np.argsort(members, kind="stable")
    samples = members[places]
    start = 0
    for batch in stated:
        stop = start + batch.height
        begin, end = np.searchsorted(samples, (start, stop))
        here = samples[begin:end]
        row = np.searchsorted(starts, places[begin:end], side="right") - 1
        yield batch[here - start].with_columns(
            place=places[begin:end], row=row, tokens=pl.Series(lengths[here])
        )
        start = stop
