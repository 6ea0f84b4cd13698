"""Pages of Parquet are as large as their headers say, and one that is too large is not read."""

from __future__ import annotations

import io
import itertools
import os
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.audio import parquet_pages
from assets.audio.columns import ColumnFile
from assets.audio.problem import AudioFaultError


def table(count: int, size: int) -> pa.Table:
    pair = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    audio = [{"bytes": os.urandom(size), "path": f"{n}.wav"} if n % 7 else None for n in range(count)]
    columns = {"audio": pa.array(audio, pair), "text": ["tä" * 50] * count, "list": [[1, 2]] * count}
    return pa.table({**columns, "null": pa.array([None] * count, pa.float64())})


def read_all(data: bytes) -> list[Any]:
    return list(ColumnFile(io.BytesIO(data)).values("audio"))


GRID = list(
    itertools.product(("none", "snappy", "zstd", "gzip"), ("1.0", "2.0"), (True, False), (True, False))
)


@pytest.mark.parametrize(("compression", "version", "dictionary", "statistics"), GRID)
def test_what_arrow_writes_is_read(
    compression: str, version: str, dictionary: bool, statistics: bool
) -> None:
    for made, page in ((table(8, 50_000), None), (table(900, 50), 2_048)):
        stream = io.BytesIO()
        pq.write_table(
            made,
            stream,
            compression=compression,
            data_page_version=version,
            use_dictionary=dictionary,
            write_statistics=statistics,
            data_page_size=page,
            row_group_size=400,
        )
        assert len(read_all(stream.getvalue())) == made.num_rows


@pytest.mark.parametrize("writer", ["polars", "duckdb"])
def test_what_others_write_is_read(tmp_path: Any, writer: str) -> None:
    made, path = table(300, 2_000).select(["audio", "text"]), tmp_path / "x.parquet"
    if writer == "polars":
        pl.DataFrame(made).write_parquet(path, row_group_size=100)
    else:
        with duckdb.connect() as connection:
            connection.register("made", made)
            connection.execute(f"COPY made TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    assert len(read_all(path.read_bytes())) == 300


def test_a_page_above_the_limit_is_refused_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_pages, "MOST_PAGE_BYTES", 1 << 20)
    stream = io.BytesIO()
    pq.write_table(pa.table({"audio": pa.array([b"\0" * (4 << 20)])}), stream, compression="zstd")
    assert len(stream.getvalue()) < 10_000
    with pytest.raises(AudioFaultError, match="a page of 4194") as refused:
        read_all(stream.getvalue())
    problem = refused.value.problem
    assert (problem.reason, problem.limit) == ("decode_error", float(1 << 20))


@pytest.mark.parametrize("damage", [b"\xff" * 40, b"\x19" + b"\xff" * 39, b"\x00" * 40])
def test_headers_that_are_none_are_faults(damage: bytes) -> None:
    stream = io.BytesIO()
    pq.write_table(pa.table({"audio": pa.array([b"\0" * 1000])}), stream)
    data = bytearray(stream.getvalue())
    data[4:44] = damage
    with pytest.raises(AudioFaultError) as refused:
        read_all(bytes(data))
    assert refused.value.problem.reason == "decode_error"
