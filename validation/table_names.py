"""Names of the lake's tables, for those who need no more of them than that."""

from __future__ import annotations

from typing import Literal, get_args

TableName = Literal[
    "raw_utterances",
    "recordings",
    "audio_22k",
    "audio_quality",
    "accepted_utterances",
    "ledger",
    "training_rows",
    "audio_tokens",
    "audio_fingerprints",
    "leakage",
    "duplicates",
    "ledger_history",
    "review_decisions",
    "contract_failures",
    "forgotten",
    "augmentations",
    "sample_ledger",
]


def known_tables() -> tuple[TableName, ...]:
    """Names of all tables, which are also the names of the SQL views."""
    return get_args(TableName)
