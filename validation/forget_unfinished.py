"""What a request to forget had selected, kept in the lake from its first removal to its last.

Rows are found by ``raw_utterances``, their tokens and copies by ``audio_22k``, of whatever corpus. Each is a file that
is rewritten at a moment of its own: after a kill in between, what is left would no longer lead to what is still to go.
"""

# ruff: noqa: S608 - statements are made of our own names and quoted paths
from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from validation.batches import ROWS_PER_GROUP, parquet
from validation.lake import Lake

FOLDER = "work/forgetting"


def keep(connection: duckdb.DuckDBPyConnection, lake: Lake, request: str) -> None:
    """Write down the table ``selected``."""
    with lake.atomic_write(_path(request)) as stream:
        reader = connection.sql("SELECT * FROM selected ORDER BY ALL").to_arrow_reader(ROWS_PER_GROUP)
        with pq.ParquetWriter(stream, reader.schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_table(pa.Table.from_batches([batch]))


def recall(connection: duckdb.DuckDBPyConnection, lake: Lake, request: str) -> None:
    """Add to the table ``selected`` what an earlier try had selected, which was killed."""
    if not lake.exists(_path(request)):
        return
    connection.execute(
        f"""CREATE TEMP TABLE unfinished AS SELECT * FROM {parquet(lake, [_path(request)])};
        DELETE FROM selected WHERE (corpus, utterance_id) IN (SELECT (corpus, utterance_id) FROM unfinished);
        INSERT INTO selected BY NAME SELECT * FROM unfinished;
        DROP TABLE unfinished"""
    ).fetchall()


def finish(lake: Lake, request: str) -> None:
    """Nothing holds it any more."""
    lake.remove(_path(request))


def _path(request: str) -> str:
    return f"{FOLDER}/{request}.parquet"
