"""Digests of what the training programs read from the lake, so that a stage is stale only when its data changed."""

from __future__ import annotations

from typing import Literal

import polars as pl

from validation.digests import digest_value
from validation.lake import Lake


def training_audio_digest(lake: Lake, corpora: list[str]) -> str:
    """Digest of the accepted audio of the training split."""
    frame = _of_corpora(lake.read_table("accepted_utterances"), corpora)
    audio = frame.filter((pl.col("split") == "train") & pl.col("audio_digest").is_not_null())
    return digest_value(sorted(audio["audio_digest"].to_list()))


def accepted_audio_digest(lake: Lake, corpus: str) -> str:
    """Digest of all accepted audio of one corpus."""
    frame = lake.read_table("accepted_utterances", corpus)
    return digest_value(sorted(frame["audio_digest"].drop_nulls().to_list()))


def rows_digest(lake: Lake, corpora: list[str], split: Literal["train", "test"]) -> str:
    """Digest of the training rows of one split: their messages and their audio, not where the files lie."""
    frame = _of_corpora(lake.read_table("training_rows"), corpora).filter(pl.col("split") == split)
    columns = ["corpus", "row_id", "task", "language", "speaker", "messages", "audio_digests"]
    return digest_value(frame.select(columns).sort("corpus", "row_id", "task").rows())


def _of_corpora(frame: pl.DataFrame, corpora: list[str]) -> pl.DataFrame:
    return frame.filter(pl.col("corpus").is_in(corpora))
