"""Held-out rows with their replies, as token ids and labels: what teacher forcing reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from training_jobs.evaluation_rows import EvaluationError, EvaluationRow, _tokens
from training_jobs.rows import encode_row
from validation.lake import Lake

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def held_out_replies(
    lake: Lake,
    rows: Sequence[EvaluationRow],
    tokenizer_digest: str,
    tokenizer: PreTrainedTokenizerFast,
    ratio: Sequence[int],
    positions: int,
) -> tuple[list[tuple[list[int], list[int]]], int]:
    """The rows that are scored, whole; and how many were left out because they exceed the model's ``positions``.

    Raises:
        EvaluationError: if audio tokens of a reply are missing.
    """
    corpora = sorted({row.corpus for row in rows})
    wanted = pl.DataFrame({name: [getattr(row, name) for row in rows] for name in ("corpus", "row_id")})
    table = pl.concat([lake.read_table("training_rows", corpus) for corpus in corpora])
    records = (
        table.filter(split="test").join(wanted.unique(), on=["corpus", "row_id"], how="semi").to_dicts()
    )
    tokens = _tokens(lake, corpora, tokenizer_digest, records)
    encoded = []
    for record in records:
        if lacking := [digest for digest in record["audio_digests"] if digest not in tokens]:
            raise EvaluationError(
                f"row {record['row_id']!r} of corpus {record['corpus']!r}: audio {lacking[0]} has no tokens of "
                f"tokenizer {tokenizer_digest}; materialise audio_tokens with it"
            )
        audios = [tokens[digest] for digest in record["audio_digests"]]
        encoded.append(encode_row(json.loads(record["messages"]), audios, tokenizer, ratio))
    fitting = [row for row in encoded if len(row[0]) <= positions]
    return fitting, len(encoded) - len(fitting)
