"""Contracts of the tables around the ledger: its history, what people decided, and rows that broke a contract."""

from __future__ import annotations

from typing import Annotated

import polars as pl

from validation.contract import Contract
from validation.pandera_polars import pa
from validation.reasons import LEDGER_STAGES, OUTCOMES, REASONS

CHANGES = ("new", "changed", "gone")
VERDICTS = ("accept", "reject")
_Time = Annotated[pl.Datetime, "us", "UTC"]


class LedgerHistory(Contract):
    """The rows whose end changed in a run, with the old and the new end; a run that changed nothing has none."""

    corpus: str
    sequence: pl.Int64 = pa.Field(ge=1, description="counts the corpus' runs that changed something")
    at: _Time
    run_id: str = pa.Field(nullable=True, description="of the Dagster run, where there was one")
    git_commit: str
    inputs: str = pa.Field(description="digest of what accepted_utterances was made from")
    utterance_id: str
    source: str
    change: str = pa.Field(isin=list(CHANGES))
    stage: str = pa.Field(nullable=True, isin=list(LEDGER_STAGES), description="of a row that is gone: null")
    outcome: str = pa.Field(nullable=True, isin=list(OUTCOMES))
    reason: str = pa.Field(nullable=True, isin=list(REASONS))
    value: float = pa.Field(nullable=True)
    limit: float = pa.Field(nullable=True)
    detail: str = pa.Field(nullable=True)
    # Reasons may have been renamed since.
    old_stage: str = pa.Field(nullable=True, description="of a new row: null")
    old_outcome: str = pa.Field(nullable=True)
    old_reason: str = pa.Field(nullable=True)
    old_value: float = pa.Field(nullable=True)
    old_limit: float = pa.Field(nullable=True)


class ReviewDecisions(Contract):
    """What a person decided about a quarantined row, and what exactly was decided upon; rows are only ever added."""

    corpus: str
    utterance_id: str
    content: str = pa.Field(
        str_matches=r"^[0-9a-f]{64}$", description="digest of the columns from source_digest to reason"
    )
    source_digest: str = pa.Field(nullable=True)
    segment_start_s: float = pa.Field(nullable=True)
    segment_end_s: float = pa.Field(nullable=True)
    text: str
    messages: str = pa.Field(nullable=True)
    reason: str = pa.Field(description="what the row was quarantined for")
    stage: str = pa.Field(description="where it was")
    source: str
    decision: str = pa.Field(isin=list(VERDICTS))
    corrected_text: str = pa.Field(nullable=True, description="takes the text's place; only of accepted rows")
    reviewer: str = pa.Field(str_length={"min_value": 1})
    note: str
    decided_at: _Time
    imported_at: _Time
    imported_by: str
    file: str = pa.Field(description="name of the file that it came in")
    place: str = pa.Field(description="row of that file, or task and annotation")
    sequence: pl.Int64 = pa.Field(
        ge=1, description="counts the imports; of two decisions the later one counts"
    )


class ContractFailures(Contract):
    """Rows that break a table's contract, and kept it from being written: the first ones of each partition."""

    table_name: str
    partition: str
    column_name: str = pa.Field(nullable=True)
    check_name: str
    row_id: str = pa.Field(nullable=True, description="the row's id; null where the whole table is at fault")
    position: pl.Int64 = pa.Field(nullable=True, ge=0, description="of the row in its table, from 0")
    value: str = pa.Field(nullable=True)
