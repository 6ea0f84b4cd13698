"""Encoded samples on disk, in the order in which they came; of each only its length and place are in memory."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training_jobs.plan import SAMPLES_SCHEMA

_STATED = [name for name in SAMPLES_SCHEMA if name not in ("row", "tokens")]
STATED_FILE = "stated.parquet"


class SampleSpill:
    """Samples as they are encoded; :meth:`close`, then :meth:`sample` gives each again.

    Args:
        folder: Where they are put; whoever makes it removes it.
    """

    def __init__(self, folder: Path) -> None:
        self._ids = (folder / "input_ids.bin").open("w+b")
        self._labels = (folder / "labels.bin").open("w+b")
        schema = pl.DataFrame(schema={name: SAMPLES_SCHEMA[name] for name in _STATED}).to_arrow().schema
        self._schema = schema
        self._stated = pq.ParquetWriter(folder / STATED_FILE, schema, compression="zstd")
        self._lengths = array("i")
        self.lengths: NDArray[np.int32] = np.empty(0, dtype=np.int32)
        self._starts: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def add(self, input_ids: Sequence[int], labels: Sequence[int]) -> None:
        """Keep one sample; ids and labels are equally long."""
        array("i", input_ids).tofile(self._ids)
        array("i", labels).tofile(self._labels)
        self._lengths.append(len(input_ids))

    def state(self, rows: pl.DataFrame) -> None:
        """Keep which training rows the samples just added are, and whose."""
        self._stated.write_table(rows.select(_STATED).to_arrow().cast(self._schema))

    def close(self) -> None:
        """No sample is added any more."""
        self._stated.close()
        for stream in (self._ids, self._labels):
            stream.flush()
        self.lengths = np.array(self._lengths, dtype=np.int32)
        self._starts = np.cumsum(self.lengths, dtype=np.int64) - self.lengths

    def sample(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Ids and labels of a sample."""
        size = self.lengths.itemsize
        start, length = size * int(self._starts[index]), size * int(self.lengths[index])
        # Not mapped: in the end all of the files would be in memory, since samples are asked for in any order.
        ids, labels = (os.pread(stream.fileno(), length, start) for stream in (self._ids, self._labels))
        return np.frombuffer(ids, np.int32), np.frombuffer(labels, np.int32)

    def __enter__(self) -> SampleSpill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stream in (self._ids, self._labels, self._stated):
            stream.close()
