"""Contracts of the tables that say which recordings are one, and what training shares with an evaluation set."""

from __future__ import annotations

from typing import Annotated

import polars as pl

from validation.contract import DIGEST, Contract
from validation.leakage_rules import ACTIONS, RULES
from validation.pandera_polars import pa


class AudioFingerprints(Contract):
    """One row per distinct accepted audio of a corpus."""

    corpus: str
    audio_digest: str = pa.Field(str_matches=DIGEST)
    frames: Annotated[pl.List, pl.UInt32] = pa.Field(
        description="32 bits per 16 ms; 0 where it is quiet (validation/fingerprint.py)"
    )
    recipe: pl.Int32 = pa.Field(description="of the fingerprint: others cannot be compared with it")
    loud_frames: pl.Int64 = pa.Field(ge=0, description="below 12 the audio is known by its digest only")


class Leakage(Contract):
    """A training row that an evaluation set forbids: once per set and rule, with one row of the set that it meets."""

    evaluation_set: str
    rule: str = pa.Field(isin=list(RULES))
    action: str = pa.Field(isin=list(ACTIONS))
    corpus: str
    utterance_id: str
    source: str
    evaluation_corpus: str
    evaluation_utterance_id: str
    evaluation_source: str
    matches: pl.Int64 = pa.Field(ge=1, description="rows of the evaluation set that it meets")
    value: float = pa.Field(description="near_audio: correlation of the waveforms; else as `matches`")
    limit: float = pa.Field(description="near_audio: from this on it is one recording; else 0")
    detail: str


class Duplicates(Contract):
    """A row that repeats an earlier one (in the order of the corpora and ids), within a corpus or across."""

    kind: str = pa.Field(isin=["audio", "near_audio", "text"])
    corpus: str
    utterance_id: str
    source: str
    split: str = pa.Field(isin=["train", "test"])
    of_corpus: str
    of_utterance_id: str
    of_source: str
    of_split: str = pa.Field(isin=["train", "test"])
    value: float = pa.Field(description="near_audio: correlation of the waveforms; else 0")
    limit: float
