"""Contracts of the rows that are trained on: accepted utterances, and the lines of the JSONL files made of them."""

from __future__ import annotations

from typing import Annotated

import polars as pl

from validation.contract import DIGEST, Contract
from validation.pandera_polars import pa
from validation.tasks import ROW_TASKS


class AcceptedUtterances(Contract):
    """Rows that passed contract and thresholds, with what the next steps need of their audio."""

    corpus: str
    utterance_id: str
    split: str = pa.Field(isin=["train", "test"])
    tasks: Annotated[pl.List, pl.String]
    speaker: str
    language: str
    text: str
    licence: str
    source: str
    source_digest: str = pa.Field(nullable=True, str_matches=DIGEST)
    conversation_id: str = pa.Field(nullable=True)
    marker: pl.Int32 = pa.Field(nullable=True)
    messages: str = pa.Field(nullable=True)
    audio_path: str = pa.Field(nullable=True)
    audio_digest: str = pa.Field(nullable=True, str_matches=DIGEST)
    view_path: str = pa.Field(nullable=True, description="of the same at 16 kHz")
    view_digest: str = pa.Field(nullable=True, str_matches=DIGEST)
    duration_s: float = pa.Field(nullable=True)
    topic: str = pa.Field(nullable=True)
    difficulty: str = pa.Field(nullable=True)
    consent: str = pa.Field(nullable=True)
    metadata: str = pa.Field(nullable=True)
    # Scores of validation.metadata, from audio_quality; null without audio.
    level_dbfs: float = pa.Field(nullable=True)
    loudness_lufs: float = pa.Field(nullable=True)
    snr_db: float = pa.Field(nullable=True)
    dynamic_range_db: float = pa.Field(nullable=True)
    bandwidth_hz: float = pa.Field(nullable=True)
    clipped_share: float = pa.Field(nullable=True)
    silence_share: float = pa.Field(nullable=True)
    chars_per_second: float = pa.Field(nullable=True)
    speech_share: float = pa.Field(nullable=True)
    mos: float = pa.Field(nullable=True)
    word_error_rate: float = pa.Field(nullable=True)
    char_error_rate: float = pa.Field(nullable=True)


class TrainingRows(Contract):
    """Side table of the JSONL files: one row per line."""

    corpus: str
    row_id: str
    split: str = pa.Field(isin=["train", "test"])
    task: str = pa.Field(isin=list(ROW_TASKS))
    language: str
    speaker: str
    messages: str = pa.Field(description="JSON, as in the JSONL row")
    audios: Annotated[pl.List, pl.String]
    utterance_ids: Annotated[pl.List, pl.String]
    audio_digests: Annotated[pl.List, pl.String]
    seconds: float = pa.Field(ge=0)
    jsonl_path: str
    line: pl.Int64 = pa.Field(ge=1)
    speakers: Annotated[pl.List, pl.String] = pa.Field(description="each once; unknown where not stated")
    licences: Annotated[pl.List, pl.String] = pa.Field(description="each once: all of them bind")
    consents: Annotated[pl.List, pl.String] = pa.Field(description="each once; unknown where not stated")
    topic: str = pa.Field(nullable=True)
    difficulty: str = pa.Field(nullable=True)
    metadata: str = pa.Field(nullable=True, description="JSON, as in raw_utterances")
    # The worst of the row's audio (validation.metadata); null without audio.
    level_dbfs: float = pa.Field(nullable=True)
    loudness_lufs: float = pa.Field(nullable=True)
    snr_db: float = pa.Field(nullable=True)
    dynamic_range_db: float = pa.Field(nullable=True)
    bandwidth_hz: float = pa.Field(nullable=True)
    clipped_share: float = pa.Field(nullable=True)
    silence_share: float = pa.Field(nullable=True)
    chars_per_second: float = pa.Field(nullable=True)
    speech_share: float = pa.Field(nullable=True)
    mos: float = pa.Field(nullable=True)
    word_error_rate: float = pa.Field(nullable=True)
    char_error_rate: float = pa.Field(nullable=True)
