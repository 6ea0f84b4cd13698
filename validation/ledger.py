"""The ledger: what became of every row that was read, with one reason per row and one outcome per reason.

Each stage writes a ledger part of its own (``<corpus>--<stage>``) with the rows that end there; accepted rows end in
``accepted_utterances``. ``read = accepted + rejected + quarantined + errored`` must hold over the parts (DESIGN §1).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, get_args

import polars as pl

from validation.errors import UserError
from validation.schemas import Outcome, empty_frame, frame_from_rows

if TYPE_CHECKING:
    from validation.lake import Lake

Stage = Literal["raw_utterances", "audio_22k", "accepted_utterances"]
LEDGER_STAGES: tuple[Stage, ...] = get_args(Stage)

Reason = Literal[
    "accepted",
    # the corpus' own rows
    "malformed_row",
    "wrong_delimiter",
    "column_count",
    "not_utf8",
    "missing_audio",
    "unreadable",
    "duplicate_id",
    "empty_text",
    "special_token_in_text",
    "no_transcript",
    "unmatched_name",
    "unknown_label",
    "outside_root",
    # the audio file
    "empty_file",
    "no_frames",
    "not_audio",
    "decode_error",
    "source_changed",
    "bad_segment",
    "worker_died",
    "truncated",
    "wrong_extension",
    "channels_cancel",
    "sample_rate",
    # the thresholds
    "non_finite",
    "silent",
    "too_short",
    "too_long",
    "too_loud",
    "clipped",
    "dc_offset",
    "mostly_silence",
    "noisy",
    "narrow_band",
    "text_too_short",
    "text_too_long",
    "companion_lost",
]
REASONS: tuple[Reason, ...] = get_args(Reason)

OUTCOME_OF: dict[Reason, Outcome] = {
    "accepted": "accepted",
    # could not be read or decoded
    "malformed_row": "errored",
    "wrong_delimiter": "errored",
    "column_count": "errored",
    "not_utf8": "errored",
    "missing_audio": "errored",
    "unreadable": "errored",
    "empty_file": "errored",
    "no_frames": "errored",
    "not_audio": "errored",
    "decode_error": "errored",
    "source_changed": "errored",
    "bad_segment": "errored",
    "worker_died": "errored",
    # readable, but breaks the contract or a threshold
    "duplicate_id": "rejected",
    "empty_text": "rejected",
    "special_token_in_text": "rejected",
    "no_transcript": "rejected",
    "unmatched_name": "rejected",
    "unknown_label": "rejected",
    "outside_root": "rejected",
    "sample_rate": "rejected",
    "non_finite": "rejected",
    "silent": "rejected",
    "too_short": "rejected",
    "too_long": "rejected",
    "too_loud": "rejected",
    "clipped": "rejected",
    "dc_offset": "rejected",
    "mostly_silence": "rejected",
    "noisy": "rejected",
    "narrow_band": "rejected",
    "companion_lost": "rejected",
    # decodes, but contradicts itself: a person should look
    "truncated": "quarantined",
    "wrong_extension": "quarantined",
    "channels_cancel": "quarantined",
    "text_too_short": "quarantined",
    "text_too_long": "quarantined",
}


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """The end of one row that was read.

    Attributes:
        source: Where the row stands: file and line, or the audio file.
        value: What was measured, in the unit of the threshold or fact that ``detail`` names; ``None`` without a number.
        limit: The number that ``value`` broke.
        detail: For a person: names the file, the row, the value and the limit.
    """

    corpus: str
    utterance_id: str
    source: str
    stage: Stage
    reason: Reason
    detail: str
    value: float | None = None
    limit: float | None = None

    @property
    def outcome(self) -> Outcome:
        """The outcome that the reason stands for."""
        return OUTCOME_OF[self.reason]


@dataclass(frozen=True, slots=True)
class Balance:
    """Rows read and how they ended, over all stages of one corpus.

    Attributes:
        read: Rows that the reader gave, counted while reading (not from the ledger).
        duplicates: Rows that stand in the ledger more than once.
    """

    corpus: str
    read: int
    accepted: int
    rejected: int
    quarantined: int
    errored: int
    duplicates: int

    @property
    def holds(self) -> bool:
        """``read = accepted + rejected + quarantined + errored``, each row once."""
        ended = self.accepted + self.rejected + self.quarantined + self.errored
        return self.read == ended and self.duplicates == 0


def ledger_frame(rows: Iterable[LedgerRow]) -> pl.DataFrame:
    """The rows as a frame with the ledger's columns."""
    return frame_from_rows("ledger", [{**asdict(row), "outcome": row.outcome} for row in rows])


def ledger_partition(corpus: str, stage: Stage) -> str:
    """Name of the part that holds the rows of ``corpus`` that end in ``stage``."""
    return f"{corpus}--{stage}"


def write_ledger_part(lake: Lake, corpus: str, stage: Stage, rows: Iterable[LedgerRow]) -> None:
    """Replace the stage's part of the ledger."""
    lake.write_table("ledger", ledger_partition(corpus, stage), ledger_frame(rows))


def read_ledger(lake: Lake, corpus: str) -> pl.DataFrame:
    """All parts of one corpus' ledger, in the order of the stages; parts not written yet are left out."""
    partitions = [ledger_partition(corpus, stage) for stage in LEDGER_STAGES]
    frames = [lake.read_table("ledger", name) for name in partitions if lake.has_table("ledger", name)]
    return pl.concat(frames) if frames else empty_frame("ledger")


def balance(lake: Lake, corpus: str) -> Balance:
    """Count how the rows of ``corpus`` ended against how many its reader gave.

    Raises:
        UserError: if the corpus has not been read yet.
    """
    manifest = lake.read_manifest("raw_utterances", corpus)
    if manifest is None or "read" not in manifest["summary"]:
        raise UserError(f"corpus {corpus!r} has not been read into {lake.url} yet: raw_utterances is missing")
    ledger = read_ledger(lake, corpus)
    counts = dict(ledger.group_by("outcome").len().iter_rows())
    # Two rows may state the same id (that is what duplicate_id rejects): a row is its id and where it stands.
    rows = ledger.select("utterance_id", "source").n_unique() if ledger.height else 0
    return Balance(
        corpus=corpus,
        read=int(manifest["summary"]["read"]),
        accepted=counts.get("accepted", 0),
        rejected=counts.get("rejected", 0),
        quarantined=counts.get("quarantined", 0),
        errored=counts.get("errored", 0),
        duplicates=ledger.height - rows,
    )


def count_reasons(ledger: pl.DataFrame) -> dict[str, int]:
    """Number of rows per reason, the most frequent first."""
    counts = ledger.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
    return dict(counts.iter_rows())
