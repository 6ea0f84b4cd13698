"""Contract of the table ``sample_ledger``: what became of every training row in every stage's pack."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import polars as pl

from validation.contract import DIGEST, Contract
from validation.pandera_polars import pa

SampleReason = Literal["packed", "cut_at_turn", "longer_than_row", "not_drawn", "not_in_mixture"]
SAMPLE_REASONS: tuple[SampleReason, ...] = get_args(SampleReason)
SAMPLE_OUTCOMES = ("accepted", "rejected", "unused")
SAMPLE_OUTCOME_OF: dict[SampleReason, str] = {
    "packed": "accepted",
    "cut_at_turn": "accepted",
    "longer_than_row": "rejected",
    "not_drawn": "unused",
    "not_in_mixture": "unused",
}


class SampleLedger(Contract):
    """One row per training row (variants included) and stage; partitions are ``<corpus>--<profile>-<stage>``.

    ``rows = accepted + rejected + unused`` holds for each source of each stage, against what the pack counted.
    """

    corpus: str
    row_id: str
    task: str
    utterance_ids: Annotated[pl.List, pl.String]
    profile: str
    stage: str = pa.Field(description="of training, whose pack it is")
    pack: str = pa.Field(str_matches=DIGEST, description="of what the pack was made from")
    outcome: str = pa.Field(isin=list(SAMPLE_OUTCOMES))
    reason: str = pa.Field(isin=list(SAMPLE_REASONS))
    draws: pl.Int64 = pa.Field(ge=0, description="how often the row is in the pack")
    tokens: pl.Int64 = pa.Field(
        nullable=True, gt=0, description="of the whole row; null: no entry of the mixture takes it"
    )
    kept_tokens: pl.Int64 = pa.Field(
        nullable=True, gt=0, description="of them in the pack, or to be drawn; null: none"
    )
    limit: pl.Int64 = pa.Field(gt=0, description="tokens of a packed row")
    detail: str = pa.Field(nullable=True, description="of what was cut or left out: file, line and numbers")
