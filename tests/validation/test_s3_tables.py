"""Tables in an object store: only what is wanted of them is read."""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl
import pytest

from pipelines.sql import query
from validation import object_writer
from validation.batches import database, frame_of, parquet, read_batches
from validation.lake import Lake, MissingTableError
from validation.schemas import frame_from_rows
from validation.steps import table_digest

pytestmark = [pytest.mark.s3, pytest.mark.slow]

_ROWS = 200_000


@pytest.fixture
def lake(s3) -> Lake:
    return Lake(f"{s3.url}/lake")


def tokens(ids: tuple[int, ...] = (1, 2)) -> pl.DataFrame:
    row = {"corpus": "c", "audio_digest": "a" * 64, "tokenizer_digest": "b" * 64, "token_ids": list(ids)}
    row["augmentation_digest"] = ""
    return frame_from_rows("audio_tokens", [{**row, "duration_s": 1.0}])


def write_large(lake: Lake) -> int:
    """Numbers beside bytes that do not compress; gives the file's size."""
    rng = np.random.default_rng(0)
    noise = [rng.bytes(60) for _ in range(_ROWS)]
    frame = pl.DataFrame({"number": range(_ROWS), "noise": noise})
    with lake.atomic_write("large.parquet") as stream:
        frame.write_parquet(stream, row_group_size=20_000)
    size = lake.size("large.parquet")
    assert size is not None
    return size


def bytes_read(proxy) -> int:
    total = 0
    for request in proxy.requests:
        if request.operation == "GetObject":
            first, last = request.range.removeprefix("bytes=").split("-")
            total += int(last) - int(first) + 1
    return total


def test_tables_and_their_digests(s3, lake, proxy):
    with pytest.raises(MissingTableError):
        table_digest(lake, "audio_tokens", "c")
    lake.write_table("audio_tokens", "c", tokens())
    first = table_digest(lake, "audio_tokens", "c")
    lake.write_table("audio_tokens", "c", tokens((9,)))
    assert table_digest(lake, "audio_tokens", "c") != first
    lake.write_table("audio_tokens", "c", tokens())
    proxy.forget()
    assert table_digest(lake, "audio_tokens", "c") == first
    assert proxy.counts() == {"HeadObject": 1}
    assert lake.read_table("audio_tokens", "c").equals(tokens())
    assert [frame.height for frame in read_batches(lake, "audio_tokens", "c", ["duration_s"])] == [1]
    lake.remove_table("audio_tokens", "c")
    assert lake.read_table("audio_tokens").is_empty()


def test_of_a_table_only_the_columns_that_are_asked_for_are_read(lake, proxy):
    size = write_large(lake)
    proxy.forget()
    with database(lake) as connection:
        found = connection.execute(f"SELECT sum(number), count(*) FROM {parquet(lake, ['large.parquet'])}")
        assert found.fetchone() == (_ROWS * (_ROWS - 1) // 2, _ROWS)
    assert bytes_read(proxy) < size / 2, proxy.counts()


def test_queries_of_one_block_ask_once_for_a_file_and_the_next_block_sees_what_others_wrote(s3, lake, proxy):
    path = lake.table_path("audio_tokens", "c")
    statement = f"SELECT token_ids FROM {parquet(lake, [path])}"
    lake.write_table("audio_tokens", "c", tokens((9,)))
    others = s3.get(f"lake/{path}")
    lake.write_table("audio_tokens", "c", tokens())
    proxy.forget()
    with database(lake) as connection:
        for _ in range(3):
            assert connection.execute(statement).fetchall() == [([1, 2],)]
        assert proxy.counts()["HeadObject"] == 1
    s3.put(f"lake/{path}", others)
    with database(lake) as connection:
        assert connection.execute(statement).fetchall() == [([9],)]


def test_a_query_asks_once_for_each_file_and_sees_what_was_written_since_the_last_one(lake, proxy):
    lake.write_table("audio_tokens", "c", tokens())
    statement = f"SELECT token_ids FROM {parquet(lake, [lake.table_path('audio_tokens', 'c')])}"
    with database(lake) as connection:
        proxy.forget()
        assert connection.execute(statement).fetchall() == [([1, 2],)]
        assert proxy.counts()["HeadObject"] == 1
        lake.write_table("audio_tokens", "c", tokens((9,)))
        assert connection.execute(statement).fetchall() == [([9],)]
        lake.remove_table("audio_tokens", "c")
        with pytest.raises(duckdb.Error, match="No files found"):
            connection.execute(statement)


def test_queries_by_many_threads_read_what_was_written(lake):
    write_large(lake)
    with database(lake) as connection:
        connection.execute("SET threads = 4")
        statement = f"SELECT number, noise FROM {parquet(lake, ['large.parquet'])} ORDER BY number"
        frame = frame_of(connection, statement)
    rng = np.random.default_rng(0)
    assert frame["noise"].to_list() == [rng.bytes(60) for _ in range(_ROWS)]


def test_sql_over_a_store(lake):
    lake.write_table("audio_tokens", "c", tokens())
    assert query(lake, "SELECT corpus, len(token_ids) AS n FROM audio_tokens").rows() == [("c", 2)]
    assert query(lake, "SELECT count(*) FROM ledger").rows() == [(0,)]


def test_an_upload_that_a_killed_process_left_goes_with_the_next_writing(s3, lake, monkeypatch):
    monkeypatch.setenv("VOXLINE_S3_PART_MIB", "5")
    s3.client.create_multipart_upload(Bucket=s3.name, Key="lake/big")
    other = s3.client.create_multipart_upload(Bucket=s3.name, Key="lake/bigger")
    lake.write_bytes("big", bytes(6 << 20))
    if s3.server.kind == "ceph":  # to moto, every upload began in 2010
        assert s3.uploads() == ["lake/big", "lake/bigger"], "another process may be at it now"
    monkeypatch.setattr(object_writer, "_ABANDONED_AFTER", -object_writer._ABANDONED_AFTER)
    lake.write_bytes("big", bytes(6 << 20))
    assert s3.uploads() == ["lake/bigger"] and other
