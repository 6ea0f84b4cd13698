"""The ledger over runs: of each run, the rows whose end changed, with the old and the new end.

A run that changed nothing adds nothing, so that a hundred nights over ten million rows cost what one does. Beside the
history lies a copy of the ledger as it was last recorded (``work/ledger_history/<corpus>/``), which the next one is
compared with. Times stand only here: no step's inputs hold the history, and equal runs have equal tables otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
import polars as pl

from validation.batches import batches_of, database, parquet, write_batches
from validation.digests import digest_value
from validation.lake import Lake
from validation.ledger import ledger_parts, ledger_sql
from validation.schemas import TableName, polars_schema
from validation.steps import table_digest

_TABLE: TableName = "ledger_history"
_BLOCK = 1 << 20
# What makes a row's end another one; the words for it may change without that.
_END = ("stage", "outcome", "reason", "value", "limit")


@dataclass(frozen=True, slots=True)
class RunOfLedger:
    """The run that a ledger is recorded for.

    Attributes:
        inputs: Digest of what ``accepted_utterances`` was made from.
        run_id: Of the Dagster run, where there was one.
    """

    at: datetime
    inputs: str
    git_commit: str
    run_id: str | None = None

    @classmethod
    def now(cls, inputs: str, git_commit: str, run_id: str | None) -> RunOfLedger:
        """A run that records its ledger now."""
        return cls(datetime.now(UTC), inputs, git_commit, run_id)


def record_ledger(lake: Lake, corpus: str, run: RunOfLedger) -> int:
    """Add to ``ledger_history`` what changed since the ledger was last recorded; gives the number of rows.

    May be killed at any moment: the next call compares with the same ledger and writes the same file anew.
    """
    with lake.turn(f"ledger_history--{corpus}"):
        return _record(lake, corpus, run)


def _record(lake: Lake, corpus: str, run: RunOfLedger) -> int:
    parts = ledger_parts(lake, corpus)
    digest = digest_value([[part, table_digest(lake, "ledger", part)] for part in parts])
    state: dict[str, Any] = lake.read_json(_state_path(corpus)) or {
        "sequence": 0,
        "ledger": None,
        "parts": [],
    }
    if state["ledger"] == digest:
        return 0
    before = state["parts"]
    if not all(lake.exists(path) for path in before):
        # Removed by hand, or by a run beside the one that named them, in a store without turns: all rows are new.
        before = []
    _remove_copies(lake, corpus, before)
    sequence = int(state["sequence"]) + 1
    partition = f"{corpus}--{sequence:06d}"
    with database(lake) as connection:
        statement = _changes(lake, corpus, before)
        rows = (
            0 if statement is None else _write(lake, connection, partition, corpus, sequence, run, statement)
        )
    if not rows:
        # Only words changed, or nothing was there before either: no file, and the number stays free.
        lake.remove_table(_TABLE, partition)
        sequence -= 1
    # Under names of this record's own: what the last record named is whole until the state names another.
    copies = _copy_parts(lake, corpus, parts, digest)
    lake.write_json(_state_path(corpus), {"sequence": sequence, "ledger": digest, "parts": copies})
    return rows


def _changes(lake: Lake, corpus: str, before: list[str]) -> str | None:
    """Statement for the rows that are new, gone or end otherwise; ``None`` where there is no ledger."""
    now = ledger_sql(lake, corpus)
    ends = ", ".join(f'n."{name}"' for name in _END)
    if not before:
        nulls = ", ".join(f'NULL AS "old_{name}"' for name in _END)
        # Nothing to compare with, and nothing to sort: as they stand.
        return now and f"SELECT utterance_id, source, 'new' AS change, {ends}, detail, {nulls} FROM {now} n"  # noqa: S608
    old = ", ".join(f'o."{name}" AS "old_{name}"' for name in _END)
    differs = " OR ".join(f'n."{name}" IS DISTINCT FROM o."{name}"' for name in _END)
    then = f"SELECT * FROM {parquet(lake, before)}"  # noqa: S608 - the paths are quoted
    present = f"SELECT * FROM {now}" if now else f"{then} WHERE false"  # noqa: S608 - the paths are quoted
    return f"""
        SELECT coalesce(n.utterance_id, o.utterance_id) AS utterance_id, coalesce(n.source, o.source) AS source,
            CASE WHEN o.utterance_id IS NULL THEN 'new' WHEN n.utterance_id IS NULL THEN 'gone' ELSE 'changed' END
                AS change,
            {ends}, n.detail, {old}
        FROM ({present}) n FULL JOIN ({then}) o USING (utterance_id, source)
        WHERE n.utterance_id IS NULL OR o.utterance_id IS NULL OR {differs}
        ORDER BY 1, 2"""  # noqa: S608 - the paths are quoted, the rest is our own


def _write(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    partition: str,
    corpus: str,
    sequence: int,
    run: RunOfLedger,
    statement: str,
) -> int:
    schema = polars_schema(_TABLE)
    constants = {"corpus": corpus, "sequence": sequence, "at": run.at, "run_id": run.run_id}
    constants |= {"git_commit": run.git_commit, "inputs": run.inputs}

    def batches() -> Iterator[pl.DataFrame]:
        for batch in batches_of(connection, statement):
            whole = batch.with_columns(pl.lit(value).alias(name) for name, value in constants.items())
            yield whole.select(pl.col(name).cast(kind) for name, kind in schema.items())

    return write_batches(lake, _TABLE, partition, batches())


def _copy_parts(lake: Lake, corpus: str, parts: list[str], digest: str) -> list[str]:
    copies = []
    for part in parts:
        copy = f"{_folder(corpus)}/{digest[:16]}-{part}.parquet"
        with lake.open(lake.table_path("ledger", part)) as source, lake.atomic_write(copy) as target:
            while block := source.read(_BLOCK):
                target.write(block)
        copies.append(copy)
    return copies


def _remove_copies(lake: Lake, corpus: str, but: list[str]) -> None:
    """Remove what earlier records left that were killed."""
    for path in lake.list_files(_folder(corpus)):
        if path.endswith(".parquet") and path not in but:
            lake.remove(path)


def _folder(corpus: str) -> str:
    return f"work/ledger_history/{corpus}"


def _state_path(corpus: str) -> str:
    return f"{_folder(corpus)}/state.json"
