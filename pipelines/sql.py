"""DuckDB over the lake: in memory, one view per table, so that readers never wait on a lock."""

from __future__ import annotations

import json
import math
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
from rich.table import Table

from pipelines.shown import escape
from validation.batches import parquet
from validation.lake import Lake
from validation.schemas import empty_frame
from validation.table_names import known_tables


def connect(lake: Lake) -> duckdb.DuckDBPyConnection:
    """An in-memory database with a view per table of the lake; tables not yet written are empty."""
    connection = duckdb.connect()
    if not lake.is_local:
        connection.register_filesystem(lake.filesystem)
    for name in known_tables():
        files = [path for path in lake.list_files(f"tables/{name}") if path.endswith(".parquet")]
        if files:
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {parquet(lake, files)}")  # noqa: S608 - paths are quoted
        else:
            connection.register(name, empty_frame(name).to_arrow())
    return connection


def query(lake: Lake, statement: str) -> pl.DataFrame:
    """The rows of one SQL statement; of columns with the same name, the second is ``name_1``.

    Raises:
        duckdb.Error: with DuckDB's own message.
    """
    with connect(lake) as connection:
        relation = connection.sql(statement)
        if relation is None:  # a statement without rows, such as SET
            return pl.DataFrame()
        frame = pl.from_arrow(_distinct(relation.to_arrow_table()))
    assert isinstance(frame, pl.DataFrame)
    return frame


def as_json(frame: pl.DataFrame) -> str:
    """One JSON list of objects; what is no number (NaN, infinity) is null."""
    return json.dumps(_finite(frame.to_dicts()), ensure_ascii=False, indent=1, default=str, allow_nan=False)


def as_table(frame: pl.DataFrame) -> Table:
    """A table for a terminal."""
    table = Table(caption=f"{frame.height} rows")
    for column, kind in frame.schema.items():
        table.add_column(escape(column), justify="right" if kind.is_numeric() else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*("" if value is None else _shown(value) for value in row))
    return table


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else escape(str(value))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _distinct(table: pa.Table) -> pa.Table:
    taken: set[str] = set()
    names = []
    for name in table.column_names:
        free, number = name, 0
        while free in taken or (number and free in table.column_names):
            number += 1
            free = f"{name}_{number}"
        taken.add(free)
        names.append(free)
    return table.rename_columns(names)
