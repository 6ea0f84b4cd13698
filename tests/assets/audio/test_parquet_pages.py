"""Pages of Parquet and batches of Arrow are as large as their headers say, and what is too large is not read."""

from __future__ import annotations

import io
import itertools
import os
import random
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.audio import arrow_batches, columns, parquet_pages
from assets.audio.arrow_batches import refuse_large_batches
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


def test_large_pages_are_taken_out_one_value_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MOST_PAGE_BYTES", 3 << 20)
    stream = io.BytesIO()
    values = pa.array([b"\0" * (1 << 20)] * 16)
    pq.write_table(pa.table({"audio": values}), stream, compression="zstd", dictionary_pagesize_limit=1 << 30)
    assert len(stream.getvalue()) < 10_000
    sizes = [batch.rows.num_rows for batch in ColumnFile(stream).batches(["audio"])]
    assert sum(sizes) == 16 and max(sizes) <= 3
    assert [len(value) for _, value in read_all(stream.getvalue())] == [1 << 20] * 16


# Compressed bodies came with V5.
ARROWS = list(
    itertools.product((("V4", None), ("V5", None), ("V5", "lz4"), ("V5", "zstd")), ("file", "stream"))
)


@pytest.mark.parametrize(("format", "kind"), ARROWS)
def test_what_arrow_has_in_files_of_its_own_is_read(
    format: tuple[str, str | None], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, compression = format
    made = table(300, 2_000)
    made = made.append_column("word", pa.array(["ä", "ö", None] * 100).dictionary_encode())
    options = pa.ipc.IpcWriteOptions(
        compression=compression, metadata_version=getattr(pa.ipc.MetadataVersion, version)
    )
    stream = io.BytesIO()
    make = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with make(stream, made.schema, options=options) as writer:
        writer.write_table(made, max_chunksize=70)
    expected = [pair and pair["bytes"] for pair in made["audio"].to_pylist()]
    assert [value for _, value in read_all(stream.getvalue())] == expected
    # As large as it lies there is no bomb.
    monkeypatch.setattr(arrow_batches, "MOST_PAGE_BYTES", 50_000)
    if compression is None:
        assert len(read_all(stream.getvalue())) == 300
    else:
        with pytest.raises(AudioFaultError, match="allowed are 50000"):
            read_all(stream.getvalue())


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_what_polars_writes_for_arrow_is_read(compression: Any) -> None:
    stream = io.BytesIO()
    made = pl.DataFrame({"audio": [os.urandom(500) for _ in range(100)]})
    made.write_ipc(stream, compression=compression, compat_level=pl.CompatLevel.oldest())
    assert len(read_all(stream.getvalue())) == 100


def test_a_batch_of_arrow_above_the_limit_is_refused_before_it_is_read() -> None:
    stream = io.BytesIO()
    batch = pa.record_batch({"audio": pa.array([b"\0" * (4 << 20)])})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(stream, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    data = stream.getvalue()
    assert len(data) < 10_000
    # The size that its values state, 8 bytes before their first block of zstd.
    place = data.rindex(b"\x28\xb5\x2f\xfd") - 8
    claims = data[:place] + (1 << 40).to_bytes(8, "little") + data[place + 8 :]
    with pytest.raises(AudioFaultError, match=r"a batch of 10995116278\d\d bytes") as refused:
        read_all(claims)
    problem = refused.value.problem
    assert (problem.reason, problem.limit) == ("decode_error", float(parquet_pages.MOST_PAGE_BYTES))


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_damage_to_the_messages_of_arrow_is_a_fault_or_changes_nothing(kind: str) -> None:
    stream = io.BytesIO()
    made = pa.table({"audio": [os.urandom(100) for _ in range(20)]})
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    make = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with make(stream, made.schema, options=options) as writer:
        writer.write_table(made)
    data, rng = stream.getvalue(), random.Random(0)
    for _ in range(400):
        damaged = bytearray(data)
        place = rng.randrange(len(data))
        damaged[place : place + 4] = rng.randbytes(4)
        try:
            refuse_large_batches(io.BytesIO(bytes(damaged)))
        except AudioFaultError as error:
            assert error.problem.reason == "decode_error"


@pytest.mark.parametrize("damage", [b"\xff" * 40, b"\x19" + b"\xff" * 39, b"\x00" * 40])
def test_headers_that_are_none_are_faults(damage: bytes) -> None:
    stream = io.BytesIO()
    pq.write_table(pa.table({"audio": pa.array([b"\0" * 1000])}), stream)
    data = bytearray(stream.getvalue())
    data[4:44] = damage
    with pytest.raises(AudioFaultError) as refused:
        read_all(bytes(data))
    assert refused.value.problem.reason == "decode_error"
