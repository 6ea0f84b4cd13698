"""One pandera contract per table; every write to the lake passes through :func:`validate_table`."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Annotated, Any, Literal, cast

import pandera.polars as pa
import polars as pl
from pandera.config import ValidationDepth, config_context
from pandera.errors import SchemaErrors

from validation.errors import UserError
from validation.reasons import LEDGER_STAGES, REASONS
from validation.reasons import OUTCOMES as OUTCOMES
from validation.reasons import Outcome as Outcome
from validation.stored_audio import STORED_RATE_HZ as STORED_RATE_HZ
from validation.tasks import TASKS
from validation.tasks import Task as Task

TableName = Literal[
    "raw_utterances",
    "audio_22k",
    "audio_quality",
    "accepted_utterances",
    "ledger",
    "training_rows",
    "audio_tokens",
]
_DIGEST = r"^[0-9a-f]{64}$"
_BATCH = 4096
# What names a row, in each of the tables.
_NAMES = ("utterance_id", "row_id", "audio_digest")


class ContractError(UserError):
    """Rows that break a table's contract.

    The message names the table's partition and, for each kind of failure, column, check, and a first row and value.
    """


class _Contract(pa.DataFrameModel):
    class Config:
        strict = True
        ordered = True


class RawUtterances(_Contract):
    """One row per utterance as its corpus states it; text-only rows have no audio."""

    corpus: str
    utterance_id: str = pa.Field(str_length={"min_value": 1})
    source: str = pa.Field(description="where the row stands: file and line, or the audio file")
    split: str = pa.Field(isin=["train", "test"])
    tasks: Annotated[pl.List, pl.String] = pa.Field(description="of asr, tts, conversation, text")
    speaker: str
    language: str
    text: str
    audio_uri: str = pa.Field(nullable=True)
    segment_start_s: float = pa.Field(nullable=True, ge=0)
    segment_end_s: float = pa.Field(nullable=True, gt=0)
    source_digest: str = pa.Field(nullable=True, str_matches=_DIGEST)
    licence: str
    conversation_id: str = pa.Field(nullable=True, description="rows of one JSONL row share it")
    marker: pl.Int32 = pa.Field(nullable=True, ge=0, description="which <|audio|> of the conversation")
    messages: str = pa.Field(nullable=True, description="the JSONL row's messages, as JSON")


class Audio22k(_Contract):
    """One row per audio file written to the lake: mono, 22,050 Hz, PCM16."""

    corpus: str
    utterance_id: str
    audio_path: str = pa.Field(description="relative to the lake's root")
    audio_digest: str = pa.Field(str_matches=_DIGEST, description="of the PCM samples")
    frames: pl.Int64 = pa.Field(gt=0)
    duration_s: float = pa.Field(gt=0)
    source_rate_hz: pl.Int32 = pa.Field(gt=0)
    source_channels: pl.Int32 = pa.Field(gt=0)
    source_format: str
    peak_dbfs: float = pa.Field(description="of the source, before PCM16")
    level_dbfs: float = pa.Field(description="RMS of the source")


class AudioQuality(_Contract):
    """Signal measures of the source audio, one row per utterance; silence has a level of -120 dBFS."""

    corpus: str
    utterance_id: str
    duration_s: float = pa.Field(gt=0)
    source_rate_hz: pl.Int32 = pa.Field(gt=0)
    level_dbfs: float
    peak_dbfs: float
    clipped_share: float = pa.Field(ge=0, le=1)
    dc_offset: float = pa.Field(ge=-1, le=1)
    silence_share: float = pa.Field(ge=0, le=1)
    snr_db: float
    bandwidth_hz: float = pa.Field(ge=0)
    nonfinite_samples: pl.Int64 = pa.Field(ge=0)
    chars_per_second: float = pa.Field(ge=0, nullable=True)


class AcceptedUtterances(_Contract):
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
    source_digest: str = pa.Field(nullable=True, str_matches=_DIGEST)
    conversation_id: str = pa.Field(nullable=True)
    marker: pl.Int32 = pa.Field(nullable=True)
    messages: str = pa.Field(nullable=True)
    audio_path: str = pa.Field(nullable=True)
    audio_digest: str = pa.Field(nullable=True, str_matches=_DIGEST)
    duration_s: float = pa.Field(nullable=True)


class Ledger(_Contract):
    """What became of every row that was read; one row per utterance read and corpus."""

    corpus: str
    utterance_id: str
    source: str
    stage: str = pa.Field(isin=list(LEDGER_STAGES))
    outcome: str = pa.Field(isin=list(OUTCOMES))
    reason: str = pa.Field(isin=list(REASONS))
    value: float = pa.Field(nullable=True)
    limit: float = pa.Field(nullable=True)
    detail: str = pa.Field(description="for a person: names the file, the row, the value and the limit")


class TrainingRows(_Contract):
    """Side table of the JSONL files: one row per line."""

    corpus: str
    row_id: str
    split: str = pa.Field(isin=["train", "test"])
    task: str = pa.Field(isin=list(TASKS))
    language: str
    speaker: str
    messages: str = pa.Field(description="JSON, as in the JSONL row")
    audios: Annotated[pl.List, pl.String]
    utterance_ids: Annotated[pl.List, pl.String]
    audio_digests: Annotated[pl.List, pl.String]
    seconds: float = pa.Field(ge=0)
    jsonl_path: str
    line: pl.Int64 = pa.Field(ge=1)


class AudioTokens(_Contract):
    """Token ids by content: (digest of the audio, digest of the tokenizer)."""

    corpus: str
    audio_digest: str = pa.Field(str_matches=_DIGEST)
    tokenizer_digest: str = pa.Field(str_matches=_DIGEST)
    token_ids: Annotated[pl.List, pl.UInt16]
    duration_s: float = pa.Field(gt=0)


TABLES: dict[TableName, type[pa.DataFrameModel]] = {
    "raw_utterances": RawUtterances,
    "audio_22k": Audio22k,
    "audio_quality": AudioQuality,
    "accepted_utterances": AcceptedUtterances,
    "ledger": Ledger,
    "training_rows": TrainingRows,
    "audio_tokens": AudioTokens,
}


def polars_schema(name: TableName) -> dict[str, pl.DataType]:
    """Column names and polars types of a table, in order."""
    columns = TABLES[name].to_schema().columns
    return {column: cast("pl.DataType", spec.dtype.type) for column, spec in columns.items()}


def empty_frame(name: TableName) -> pl.DataFrame:
    """A frame without rows that has the table's columns."""
    return pl.DataFrame(schema=polars_schema(name))


def frame_from_rows(name: TableName, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """A frame with the table's column types from dictionaries that have all its columns."""
    return pl.DataFrame(rows, schema=polars_schema(name), orient="row")


def frame_in_batches(name: TableName, rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """Like :func:`frame_from_rows`, but for rows that are made one at a time.

    Only a batch of them exists as Python objects at once: a large corpus as objects would not fit into memory.
    """
    left = iter(rows)
    frames = [empty_frame(name)]
    while batch := list(islice(left, _BATCH)):
        frames.append(frame_from_rows(name, batch))
    return pl.concat(frames)


def validate_table(name: TableName, partition: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Check ``frame`` lazily against its contract, schema and data.

    Raises:
        ContractError: listing column, check, number of failures, and a first row and value for each kind of failure.
    """
    try:
        # Said explicitly: pandera's default depth for lazy frames is the schema only.
        with config_context(validation_depth=ValidationDepth.SCHEMA_AND_DATA):
            return cast("pl.DataFrame", TABLES[name].validate(frame, lazy=True))
    except SchemaErrors as error:
        kinds = error.failure_cases.group_by("column", "check").agg(
            pl.len().alias("count"), pl.col("failure_case").first(), pl.col("index").first()
        )
        lines = [_failure(frame, kind) for kind in kinds.sort("column", "check").iter_rows(named=True)]
        raise ContractError(
            f"table {name}, partition {partition!r}, breaks its contract: " + "; ".join(lines)
        ) from error


def _failure(frame: pl.DataFrame, kind: dict[str, Any]) -> str:
    place = "first value"
    if kind["index"] is not None:  # it is null for a missing or an unknown column
        named = next((column for column in _NAMES if column in frame.columns), None)
        row = f"row {kind['index']}" if named is None else f"{named} {frame[named][kind['index']]!r}"
        place = f"first {row}, value"
    return f"{kind['column']}: {kind['check']}: {kind['count']} rows, {place} {kind['failure_case']!r}"
