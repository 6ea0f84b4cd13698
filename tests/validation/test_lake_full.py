"""A full disk is told as such, whichever library was writing."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from validation.lake import Lake
from validation.lake_files import LakeError


@pytest.mark.parametrize("rows", [10, 100_000])  # the first few are held in memory until they are flushed
@pytest.mark.parametrize("library", ["polars", "pyarrow", "python"])
def test_a_full_disk_names_the_file_whoever_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, rows: int
) -> None:
    class Full(io.FileIO):
        def write(self, _: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(stream: Any) -> None:
        frame = pl.DataFrame({"a": range(rows)})
        if library == "polars":
            frame.write_parquet(stream)
        elif library == "pyarrow":
            pq.write_table(frame.to_arrow(), stream)
        else:
            stream.write(bytes(rows))

    monkeypatch.setattr(io, "FileIO", Full)
    with (
        pytest.raises(LakeError, match=r"tables/a\.parquet cannot be written: No space left on device"),
        Lake(str(tmp_path)).atomic_write("tables/a.parquet") as stream,
    ):
        write(stream)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
