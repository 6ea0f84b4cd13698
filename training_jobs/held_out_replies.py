"""Held-out rows with their replies, as token ids and labels, and what a checkpoint's modules make of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from training_jobs.evaluation_rows import EvaluationError, EvaluationRow, stored_tokens
from training_jobs.rows import encode_row, vocabulary_of
from validation.lake import Lake

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from training_jobs.module_quality import ModuleQuality


def quality_of_modules(
    lake: Lake, rows: Sequence[EvaluationRow], tokenizer_digest: str, model_dir: Path, ratio: Sequence[int]
) -> tuple[ModuleQuality, int]:
    """How good a checkpoint's modules are on the rows that are scored; and how many rows are too long for it.

    Raises:
        EvaluationError: if audio tokens of a reply are missing.
    """
    import torch
    from transformers import AutoTokenizer

    from models import load_model
    from training_jobs.dialogue import dtype_on
    from training_jobs.module_quality import measure

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(model_dir, local_files_only=True)
    model = load_model(model_dir, device=device, dtype=dtype_on(device))
    positions = model.config.max_position_embeddings
    replies, too_long = held_out_replies(lake, rows, tokenizer_digest, tokenizer, ratio, positions)
    words = vocabulary_of(tokenizer)
    return measure(model, replies, range(words.first_audio, words.first_audio + words.audio_codes)), too_long


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
    records = table.filter(split="test").join(wanted.unique(), on=["corpus", "row_id"], how="semi").to_dicts()
    tokens = stored_tokens(lake, corpora, tokenizer_digest, records)
    encoded = []
    for record in records:
        if lacking := [digest for digest in record["audio_digests"] if digest not in tokens]:
            raise EvaluationError(
                f"row {record['row_id']!r} of corpus {record['corpus']!r}: audio {lacking[0]} has no tokens of "
                f"tokenizer {tokenizer_digest}; materialise audio_tokens with it"
            )
        audios = [tokens[digest][0] for digest in record["audio_digests"]]
        encoded.append(encode_row(json.loads(record["messages"]), audios, tokenizer, ratio))
    fitting = [row for row in encoded if len(row[0]) <= positions]
    return fitting, len(encoded) - len(fitting)
