"""The ledger: what became of every row that was read, with one reason per row and one outcome per reason.

Each stage writes a ledger part of its own (``<corpus>--<stage>``) with the rows that end there; accepted rows end in
``accepted_utterances``. ``read = accepted + rejected + quarantined + errored`` must hold over the parts (DESIGN §1).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import polars as pl

from validation.errors import UserError
from validation.reasons import LEDGER_STAGES as LEDGER_STAGES
from validation.reasons import OUTCOME_OF as OUTCOME_OF
from validation.reasons import REASONS as REASONS
from validation.reasons import Outcome
from validation.reasons import Reason as Reason
from validation.reasons import Stage as Stage
from validation.schemas import empty_frame, frame_in_batches

if TYPE_CHECKING:
    from validation.lake import Lake


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
    return frame_in_batches("ledger", ({**asdict(row), "outcome": row.outcome} for row in rows))


def ledger_partition(corpus: str, stage: Stage) -> str:
    """Name of the part that holds the rows of ``corpus`` that end in ``stage``."""
    return f"{corpus}--{stage}"


def write_ledger_part(lake: Lake, corpus: str, stage: Stage, rows: Iterable[LedgerRow]) -> None:
    """Replace the stage's part of the ledger; ``rows`` may be made one at a time, as they are asked for."""
    lake.write_table("ledger", ledger_partition(corpus, stage), ledger_frame(rows))


def has_ended_with(lake: Lake, corpus: str, stage: Stage, reasons: Collection[Reason]) -> bool:
    """Whether the stage's part of the ledger, which must be there, has a row with one of the reasons."""
    part = lake.read_table("ledger", ledger_partition(corpus, stage))
    return bool(part["reason"].is_in(list(reasons)).any())


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
