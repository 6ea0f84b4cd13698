"""Rows that break a table's contract, as rows: column, check, row and value, all of them counted and the first kept."""

from __future__ import annotations

import polars as pl

from validation.errors import UserError
from validation.pandera_polars import SchemaErrors

# Of one partition, in the table contract_failures; a column that is wrong throughout would fill it with one sentence.
MOST_FAILURES = 1_000
# What names a row, in each of the tables.
_NAMES = ("utterance_id", "row_id", "audio_digest")
_SCHEMA = {
    "column_name": pl.String,
    "check_name": pl.String,
    "row_id": pl.String,
    "position": pl.Int64,
    "value": pl.String,
}


class ContractError(UserError):
    """Rows that break a table's contract.

    The message names the table's partition and, for each kind of failure, column, check, number, and a first row and
    value.

    Attributes:
        failures: One row per failure: ``column_name``, ``check_name``, ``row_id``, ``position`` and ``value``; at most
            :data:`MOST_FAILURES`.
        every: All failures of the last batch.
        total: How many failures there are.
    """

    def __init__(self, table: str, partition: str, failures: pl.DataFrame, kinds: pl.DataFrame) -> None:
        self.table = table
        self.partition = partition
        self.failures = failures.head(MOST_FAILURES)
        self.every = failures
        self._kinds = kinds
        self.total = int(kinds["count"].sum())
        lines = [_told(kind) for kind in kinds.iter_rows(named=True)]
        super().__init__(f"table {table}, partition {partition!r}, breaks its contract: " + "; ".join(lines))

    @classmethod
    def of(cls, table: str, partition: str, failures: pl.DataFrame) -> ContractError:
        """The error for these failures, from :func:`failing_rows`."""
        kinds = failures.group_by("column_name", "check_name").agg(
            pl.len().cast(pl.Int64).alias("count"), pl.col("row_id", "position", "value").first()
        )
        return cls(table, partition, failures, kinds.sort("column_name", "check_name"))

    def joined(self, later: ContractError) -> ContractError:
        """One error for this batch and a later one of the same partition."""
        failures = pl.concat([self.failures, later.failures]).head(MOST_FAILURES)
        kinds = (
            pl.concat([self._kinds, later._kinds])
            .group_by("column_name", "check_name", maintain_order=True)
            .agg(pl.col("count").sum(), pl.col("row_id", "position", "value").first())
        )
        return ContractError(self.table, self.partition, failures, kinds.sort("column_name", "check_name"))

    def kept(self) -> ContractError:
        """The error once its failures stand in the table ``contract_failures``: it says so."""
        told = ContractError(self.table, self.partition, self.failures, self._kinds)
        share = "all" if self.total <= MOST_FAILURES else f"the first {MOST_FAILURES} of"
        where = f"table_name = '{self.table}' AND partition = '{self.partition}'"
        told.args = (
            f'{self}; {share} {self.total} failures: voxline sql "FROM contract_failures WHERE {where}"',
        )
        return told

    def table_rows(self) -> pl.DataFrame:
        """The failures as rows of the table ``contract_failures``."""
        named = [pl.lit(self.table).alias("table_name"), pl.lit(self.partition).alias("partition")]
        return self.failures.select(*named, *_SCHEMA)


def failing_rows(frame: pl.DataFrame, error: SchemaErrors, first_row: int = 0) -> pl.DataFrame:
    """The failures of a frame whose first row stands at ``first_row`` of its table, in the order of rows."""
    name = next((column for column in _NAMES if column in frame.columns), None)
    cases = error.failure_cases.select(
        pl.col("column").cast(pl.String).alias("column_name"),
        pl.col("check").cast(pl.String).alias("check_name"),
        pl.col("index").cast(pl.Int64).alias("position"),
        pl.col("failure_case").cast(pl.String).alias("value"),
    ).sort("position", "column_name", "check_name", nulls_last=False)
    ids = None if name is None else frame[name].cast(pl.String)
    rows = [None if ids is None or place is None else ids[place] for place in cases["position"]]
    placed: pl.DataFrame = cases.with_columns(
        row_id=pl.Series(rows, dtype=pl.String), position=pl.col("position") + first_row
    ).select(pl.col(column).cast(kind) for column, kind in _SCHEMA.items())
    return placed


def _told(kind: dict[str, object]) -> str:
    place = "first value"
    if kind["position"] is not None:  # it is null for a missing or an unknown column
        named = f"row {kind['position']}" if kind["row_id"] is None else f"row {kind['row_id']!r}"
        place = f"first {named}, value"
    return f"{kind['column_name']}: {kind['check_name']}: {kind['count']} rows, {place} {kind['value']!r}"
