"""Removes from the lake what holds a selected row, so that nothing is left of it before the next run.

Every step may be killed and done again: what was selected is kept aside meanwhile, and rows of ``raw_utterances``, by
which all else is found, go last.
"""

# ruff: noqa: S608 - statements are made of our own names and quoted paths
from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from validation.batches import ROWS_PER_GROUP, batches_of, parquet
from validation.forget import held_by
from validation.forget_unfinished import FOLDER, finish, keep
from validation.lake import Lake
from validation.stored_audio import AUDIO_FOLDER, VIEW_FOLDER

_RAW = "tables/raw_utterances/"
# Where steps of all corpora keep what they made: made anew once a corpus has changed.
_OF_ALL = ("leakage", "duplicates")
# Pages, lines of JSON and figures with examples in them: made anew by the next run.
_REMADE = ("jsonl", "reports", "drawings")


def purge(connection: duckdb.DuckDBPyConnection, lake: Lake, corpora: Sequence[str], request: str) -> int:
    """Remove the selected rows and what was made of them; gives the number of files changed or removed.

    Args:
        connection: With the tables of :func:`validation.forget.select`.
        corpora: Those with selected rows; what the next run makes anew is removed of them as a whole.
        request: The selector's.
    """
    lake.remove_leftovers()  # a killed writer's may hold them too
    keep(connection, lake, request)
    changed = 0
    for path in _remade(lake, corpora):
        lake.remove(path)
        changed += 1
    for batch in batches_of(connection, "SELECT path FROM gone_files ORDER BY path"):
        for (path,) in batch.iter_rows():
            lake.remove(path)
            changed += 1
    tables = [
        path for folder in ("tables", "work") for path, _ in lake.walk(folder) if path.endswith(".parquet")
    ]
    for path in sorted(tables, key=lambda path: (path.startswith(_RAW), path)):
        if not path.startswith(("tables/forgotten/", f"{FOLDER}/")):
            changed += _without(connection, lake, path, corpora)
    finish(lake, request)
    return changed


def stored_corpora(lake: Lake) -> list[str]:
    """The corpora that the lake has stored audio of, also those that no table names any more."""
    folders = (path for folder in (AUDIO_FOLDER, VIEW_FOLDER) for path in lake.list_files(folder))
    return sorted({path.rpartition("/")[2] for path in folders})


def unused_audio(
    connection: duckdb.DuckDBPyConnection, lake: Lake, corpora: Sequence[str]
) -> Iterator[tuple[str, int]]:
    """Path and bytes of stored audio of these corpora that no table names, to be removed by the caller.

    A corpus that has no table ``audio_22k`` has no audio in use: that of a corpus that was removed.
    """
    for corpus in corpora:
        path = lake.table_path("audio_22k", corpus)
        named = "SELECT NULL::VARCHAR AS path WHERE false"
        if lake.exists(path):
            there = _columns(lake, path)
            columns = ", ".join(name for name in ("audio_path", "view_path") if name in there)
            named = f"SELECT unnest([{columns}]) AS path FROM {parquet(lake, [path])}"
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE in_use AS SELECT DISTINCT path FROM ({named})"
        ).fetchall()
        for folder in (AUDIO_FOLDER, VIEW_FOLDER):
            files = lake.walk(f"{folder}/{corpus}")
            while some := [found for _, found in zip(range(ROWS_PER_GROUP), files, strict=False)]:
                listed = pl.DataFrame(some, schema={"path": pl.String, "bytes": pl.Int64}, orient="row")
                connection.register("listed", listed.to_arrow())
                unused = connection.execute(
                    "SELECT path, bytes FROM listed ANTI JOIN in_use USING (path) ORDER BY path"
                )
                yield from unused.fetchall()
                connection.unregister("listed")


def _remade(lake: Lake, corpora: Sequence[str]) -> Iterator[str]:
    for folder in _REMADE:
        for path, _ in lake.walk(folder):
            parts = path.split("/")[1:]
            if any(part.partition(".")[0] in (*corpora, "index") for part in parts):
                yield path
    for path, _ in lake.walk("manifests"):
        step, _, partition = path.removeprefix("manifests/").rpartition("/")
        name = partition.removesuffix(".json")
        if step in _OF_ALL or name.partition("--")[0] in corpora:
            yield path
    for path in lake.list_files("tables/contract_failures"):
        table, _, partition = path.rpartition("/")[2].removesuffix(".parquet").partition("--")
        if table in _OF_ALL or partition.partition("--")[0] in corpora:
            yield path


def _without(connection: duckdb.DuckDBPyConnection, lake: Lake, path: str, corpora: Sequence[str]) -> bool:
    """Write the file anew without the rows that hold a selected one; whether there were any."""
    with lake.open(path) as stream:
        schema = pq.read_schema(stream)
    relation = parquet(lake, [path])
    corpus = next((one for one in corpora if one in _names(path)), "")
    condition = held_by(schema.names, corpus, relation)
    if condition == "false":
        return False
    ((count,),) = connection.execute(f"SELECT count(*) FROM {relation} AS held WHERE {condition}").fetchall()
    if not count:
        return False
    numbered = f"{relation.removesuffix(')')}, file_row_number = true)"
    columns = ", ".join(f'"{name}"' for name in schema.names)
    left = f"SELECT {columns} FROM {numbered} AS held WHERE NOT {condition} ORDER BY file_row_number"
    with (
        lake.atomic_write(path) as stream,
        pq.ParquetWriter(stream, schema, compression="zstd") as writer,
    ):
        for batch in connection.sql(left).to_arrow_reader(ROWS_PER_GROUP):
            writer.write_table(pa.Table.from_batches([batch]).cast(schema))
    return True


def _names(path: str) -> list[str]:
    """What a file's path may say of its corpus."""
    return [part.removesuffix(".parquet").partition("--")[0] for part in path.split("/")]


def _columns(lake: Lake, path: str) -> list[str]:
    with lake.open(path) as stream:
        names: list[str] = pq.read_schema(stream).names
    return names
