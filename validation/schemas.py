"""One pandera contract per table; every write to the lake passes through :func:`validate_table`."""

from __future__ import annotations

from typing import Annotated, Any, cast

import polars as pl

from validation.augmentation.contracts import Augmentations
from validation.contract import DIGEST, Contract
from validation.contract_errors import ContractError as ContractError
from validation.contract_errors import failing_rows
from validation.forget_contracts import Forgotten
from validation.leakage_contracts import AudioFingerprints, Duplicates, Leakage
from validation.ledger_contracts import ContractFailures, LedgerHistory, ReviewDecisions
from validation.pandera_polars import SchemaErrors, ValidationDepth, config_context, pa
from validation.quick_check import keeps
from validation.reasons import LEDGER_STAGES, REASONS
from validation.reasons import OUTCOMES as OUTCOMES
from validation.reasons import Outcome as Outcome
from validation.row_contracts import AcceptedUtterances, TrainingRows
from validation.sample_contracts import SampleLedger
from validation.stored_audio import GAIN_LIMITS
from validation.stored_audio import STORED_RATE_HZ as STORED_RATE_HZ
from validation.table_names import TableName as TableName
from validation.tasks import RowTask as RowTask
from validation.tasks import Task as Task


class RawUtterances(Contract):
    """One row per utterance as its corpus states it; text-only rows have no audio."""

    corpus: str
    utterance_id: str = pa.Field(str_length={"min_value": 1})
    source: str = pa.Field(description="where the row stands: file and line, or the audio file")
    split: str = pa.Field(isin=["train", "test"])
    tasks: Annotated[pl.List, pl.String] = pa.Field(description="of asr, tts, conversation, text, audio")
    speaker: str
    language: str
    text: str
    audio_uri: str = pa.Field(nullable=True)
    segment_start_s: float = pa.Field(nullable=True, ge=0)
    segment_end_s: float = pa.Field(nullable=True, gt=0)
    channel: pl.Int32 = pa.Field(nullable=True, ge=1, description="of a recording that is split by channels")
    parent_id: str = pa.Field(nullable=True, description="id of the recording that the row is a piece of")
    cut_in_speech: bool = pa.Field(description="a piece of which an end is not in a pause: there was none")
    raw_format: str = pa.Field(
        nullable=True, description="of samples without a header: encoding/rate/channels"
    )
    audio_offset: pl.Int64 = pa.Field(nullable=True, ge=0, description="first byte of a member in its tar")
    audio_bytes: pl.Int64 = pa.Field(nullable=True, ge=0, description="of the file, or of the member")
    source_digest: str = pa.Field(nullable=True, str_matches=DIGEST)
    licence: str
    conversation_id: str = pa.Field(nullable=True, description="rows of one JSONL row share it")
    marker: pl.Int32 = pa.Field(nullable=True, ge=0, description="which <|audio|> of the conversation")
    messages: str = pa.Field(nullable=True, description="the JSONL row's messages, as JSON")
    topic: str = pa.Field(nullable=True)
    difficulty: str = pa.Field(nullable=True, description="as the corpus states it: a word or a number")
    consent: str = pa.Field(nullable=True)
    metadata: str = pa.Field(nullable=True, description="what else the corpus states of the row, as JSON")


class Recordings(Contract):
    """One row per recording that was cut into pieces: how much of it they are, and how much was left out."""

    corpus: str
    utterance_id: str = pa.Field(description="of the recording; its pieces' parent_id")
    source: str
    audio_uri: str
    source_digest: str = pa.Field(str_matches=DIGEST)
    duration_s: float = pa.Field(nullable=True, ge=0, description="up to where it decodes; null: not at all")
    channels: pl.Int32 = pa.Field(nullable=True, gt=0)
    lanes: pl.Int32 = pa.Field(nullable=True, gt=0, description="channels that are cut each for itself")
    speech_s: float = pa.Field(nullable=True, ge=0, description="of the voice activity model, over all lanes")
    pieces: pl.Int64 = pa.Field(ge=0)
    pieces_s: float = pa.Field(ge=0)
    left_out_s: float = pa.Field(nullable=True, ge=0, description="of all lanes: what is in no piece")
    cut_in_speech: pl.Int64 = pa.Field(ge=0, description="pieces of which an end is not in a pause")
    reason: str = pa.Field(nullable=True, isin=list(REASONS), description="why not all of it was heard")


class Audio22k(Contract):
    """One row per audio file written to the lake: mono, 22,050 Hz, PCM16, and maybe the same at 16 kHz."""

    corpus: str
    utterance_id: str
    audio_path: str = pa.Field(description="relative to the lake's root")
    audio_digest: str = pa.Field(str_matches=DIGEST, description="of the PCM samples")
    frames: pl.Int64 = pa.Field(gt=0)
    duration_s: float = pa.Field(gt=0)
    view_path: str = pa.Field(nullable=True, description="of the view at 16 kHz, made from the source")
    view_digest: str = pa.Field(nullable=True, str_matches=DIGEST)
    view_frames: pl.Int64 = pa.Field(nullable=True, gt=0)
    gain_db: float = pa.Field(description="of what is stored, over the source")
    gain_limit: str = pa.Field(
        nullable=True, isin=list(GAIN_LIMITS), description="what it ended at; null: recorded gain"
    )
    loudness_by: str = pa.Field(nullable=True, isin=["r128", "rms"], description="what was measured for it")
    source_rate_hz: pl.Int32 = pa.Field(gt=0)
    source_channels: pl.Int32 = pa.Field(gt=0)
    channels_used: Annotated[pl.List, pl.Int32] = pa.Field(description="of the source, from 1")
    source_format: str
    despite: str = pa.Field(nullable=True, description="the fault that a person accepted it in spite of")
    decision: str = pa.Field(nullable=True, description="who decided that, and when")
    fault: str = pa.Field(nullable=True, description="what is wrong with the recording all the same")
    promised_s: float = pa.Field(
        nullable=True, description="what it promises, where that is more than duration_s"
    )
    peak_dbfs: float = pa.Field(description="of the source, before PCM16")
    level_dbfs: float = pa.Field(description="RMS of the source")


class AudioQuality(Contract):
    """Measures of the source audio, one row per utterance (:mod:`validation.measures` says what each is).

    Those of models are null where the model is off, those of the transcript where there is none.
    """

    corpus: str
    utterance_id: str
    duration_s: float = pa.Field(gt=0)
    source_rate_hz: pl.Int32 = pa.Field(gt=0)
    level_dbfs: float
    peak_dbfs: float
    loudness_lufs: float = pa.Field(nullable=True)
    crest_db: float
    dynamic_range_db: float = pa.Field(ge=0)
    clipped_share: float = pa.Field(ge=0, le=1)
    clipped_runs: pl.Int64 = pa.Field(ge=0)
    longest_clip_s: float = pa.Field(ge=0)
    dropout_s: float = pa.Field(ge=0)
    longest_dropout_s: float = pa.Field(ge=0)
    dc_offset: float = pa.Field(ge=-1, le=1)
    silence_share: float = pa.Field(ge=0, le=1)
    leading_silence_s: float = pa.Field(ge=0)
    trailing_silence_s: float = pa.Field(ge=0)
    snr_db: float
    rumble_db: float
    hum_db: float = pa.Field(nullable=True)
    bandwidth_hz: float = pa.Field(ge=0)
    bandwidth_share: float = pa.Field(ge=0, le=1)
    dead_channels: pl.Int64 = pa.Field(ge=0)
    channel_correlation: float = pa.Field(ge=-1, le=1)
    nonfinite_samples: pl.Int64 = pa.Field(ge=0)
    chars_per_second: float = pa.Field(ge=0, nullable=True)
    rate_deviation: float = pa.Field(nullable=True, description="robust z-score of chars_per_second")
    speech_share: float = pa.Field(ge=0, le=1, nullable=True, description="voice activity model")
    mos: float = pa.Field(ge=0, le=5, nullable=True, description="DNSMOS, overall")
    mos_signal: float = pa.Field(ge=0, le=5, nullable=True)
    mos_background: float = pa.Field(ge=0, le=5, nullable=True)
    heard_text: str = pa.Field(nullable=True, description="what the ASR model heard")
    word_error_rate: float = pa.Field(ge=0, nullable=True, description="of heard_text against the transcript")
    char_error_rate: float = pa.Field(ge=0, nullable=True)


class Ledger(Contract):
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


class AudioTokens(Contract):
    """Token ids by content: (digest of the audio, of the tokenizer, of what the audio went through before)."""

    corpus: str
    audio_digest: str = pa.Field(str_matches=DIGEST)
    view_digest: str = pa.Field(
        nullable=True, str_matches=DIGEST, description="of its view, for a tokenizer that works at 16 kHz"
    )
    tokenizer_digest: str = pa.Field(str_matches=DIGEST)
    augmentation_digest: str = pa.Field(
        str_matches=r"^([0-9a-f]{64})?$", description="empty: the audio as it is stored"
    )
    token_ids: Annotated[pl.List, pl.UInt16]
    duration_s: float = pa.Field(gt=0)


TABLES: dict[TableName, type[pa.DataFrameModel]] = {
    "raw_utterances": RawUtterances,
    "recordings": Recordings,
    "audio_22k": Audio22k,
    "audio_quality": AudioQuality,
    "accepted_utterances": AcceptedUtterances,
    "ledger": Ledger,
    "training_rows": TrainingRows,
    "audio_tokens": AudioTokens,
    "audio_fingerprints": AudioFingerprints,
    "leakage": Leakage,
    "duplicates": Duplicates,
    "ledger_history": LedgerHistory,
    "review_decisions": ReviewDecisions,
    "contract_failures": ContractFailures,
    "forgotten": Forgotten,
    "augmentations": Augmentations,
    "sample_ledger": SampleLedger,
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


def validate_table(name: TableName, partition: str, frame: pl.DataFrame, first_row: int = 0) -> pl.DataFrame:
    """Check ``frame`` lazily against its contract, schema and data.

    Args:
        first_row: Where in its table the frame's first row stands.

    Raises:
        ContractError: with all failures; its message lists column, check, number of failures, and a first row and
            value for each kind of failure.
    """
    if keeps(TABLES[name], frame):
        return frame
    try:
        # Said explicitly: pandera's default depth for lazy frames is the schema only.
        with config_context(validation_depth=ValidationDepth.SCHEMA_AND_DATA):
            return cast("pl.DataFrame", TABLES[name].validate(frame, lazy=True))
    except SchemaErrors as error:
        raise ContractError.of(name, partition, failing_rows(frame, error, first_row)) from error
