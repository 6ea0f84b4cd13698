"""The ledger: what became of every row that was read, with one reason per row and one outcome per reason.

Each stage writes a ledger part of its own (``<corpus>--<stage>``) with the rows that end there; accepted rows end in
``accepted_utterances``. ``read = accepted + rejected + quarantined + errored`` must hold over the parts (DESIGN §1).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import polars as pl

from validation.batches import database, frame_of, parquet, read_batches, write_batches
from validation.errors import UserError
from validation.lake import Lake
from validation.reasons import LEDGER_STAGES as LEDGER_STAGES
from validation.reasons import OUTCOME_OF as OUTCOME_OF
from validation.reasons import REASONS as REASONS
from validation.reasons import Outcome
from validation.reasons import Reason as Reason
from validation.reasons import Stage as Stage
from validation.schemas import empty_frame, frame_from_rows, polars_schema

_BATCH = 4096
_COLUMNS = tuple(polars_schema("ledger"))


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
    # dataclasses.asdict copies deeply, which took longer than all the rest.
    return frame_from_rows("ledger", [{name: getattr(row, name) for name in _COLUMNS} for row in rows])


def ledger_partition(corpus: str, stage: Stage) -> str:
    """Name of the part that holds the rows of ``corpus`` that end in ``stage``."""
    return f"{corpus}--{stage}"


def write_ledger_part(lake: Lake, corpus: str, stage: Stage, rows: Iterable[LedgerRow]) -> None:
    """Replace the stage's part of the ledger; ``rows`` may be made one at a time, as they are asked for."""
    write_ledger_frames(lake, corpus, stage, _frames(rows))


def write_ledger_frames(lake: Lake, corpus: str, stage: Stage, frames: Iterable[pl.DataFrame]) -> None:
    """Replace the stage's part of the ledger by these frames, of which one is in memory at once."""
    write_batches(lake, "ledger", ledger_partition(corpus, stage), frames)


def _frames(rows: Iterable[LedgerRow]) -> Iterator[pl.DataFrame]:
    # As Python objects, a large corpus would not fit into memory.
    left = iter(rows)
    while batch := list(islice(left, _BATCH)):
        yield ledger_frame(batch)


def has_ended_with(lake: Lake, corpus: str, stage: Stage, reasons: Collection[Reason]) -> bool:
    """Whether the stage's part of the ledger, which must be there, has a row with one of the reasons."""
    batches = read_batches(lake, "ledger", ledger_partition(corpus, stage), ["reason"])
    return any(batch["reason"].is_in(list(reasons)).any() for batch in batches)


def ledger_parts(lake: Lake, corpus: str) -> list[str]:
    """Names of the parts of one corpus' ledger that have been written, in the order of the stages."""
    partitions = [ledger_partition(corpus, stage) for stage in LEDGER_STAGES]
    return [name for name in partitions if lake.has_table("ledger", name)]


def read_ledger(lake: Lake, corpus: str) -> pl.DataFrame:
    """All parts of one corpus' ledger, in the order of the stages, which must be small; else ask DuckDB."""
    frames = [lake.read_table("ledger", name) for name in ledger_parts(lake, corpus)]
    return pl.concat(frames) if frames else empty_frame("ledger")


def ledger_sql(lake: Lake, corpus: str) -> str | None:
    """DuckDB's ``read_parquet`` over all parts of one corpus' ledger; ``None`` where there is none."""
    parts = ledger_parts(lake, corpus)
    return parquet(lake, [lake.table_path("ledger", part) for part in parts]) if parts else None


def ledger_counts(lake: Lake, corpus: str) -> pl.DataFrame:
    """Columns ``outcome``, ``reason``, ``rows`` and ``example`` (the detail of one row), the most frequent first."""
    ledger = ledger_sql(lake, corpus)
    if ledger is None:
        schema = {"outcome": pl.String, "reason": pl.String, "rows": pl.Int64, "example": pl.String}
        return pl.DataFrame(schema=schema)
    with database(lake) as connection:
        return frame_of(
            connection,
            f"""
            SELECT outcome, reason, count(*) AS rows, min(detail) AS example
            FROM {ledger} GROUP BY ALL ORDER BY rows DESC, reason""",  # noqa: S608 - the paths are quoted
        )


def balance(lake: Lake, corpus: str) -> Balance:
    """Count how the rows of ``corpus`` ended against how many its reader gave.

    Raises:
        UserError: if the corpus has not been read yet.
    """
    manifest = lake.read_manifest("raw_utterances", corpus)
    if manifest is None or "read" not in manifest["summary"]:
        raise UserError(f"corpus {corpus!r} has not been read into {lake.url} yet: raw_utterances is missing")
    counts: dict[str, int] = {}
    duplicates = 0
    if (ledger := ledger_sql(lake, corpus)) is not None:
        with database(lake) as connection:
            by_outcome = f"SELECT outcome, count(*) FROM {ledger} GROUP BY outcome"  # noqa: S608 - the paths are quoted
            counts = dict(connection.execute(by_outcome).fetchall())
            # Two rows may state the same id (that is what duplicate_id rejects): a row is its id and where it stands.
            key = "md5_number(length(utterance_id) || ':' || utterance_id || source)"
            statement = f"SELECT count(*) - count(DISTINCT {key}) FROM {ledger}"  # noqa: S608 - the paths are quoted
            ((duplicates,),) = connection.execute(statement).fetchall()
    return Balance(
        corpus=corpus,
        read=int(manifest["summary"]["read"]),
        accepted=counts.get("accepted", 0),
        rejected=counts.get("rejected", 0),
        quarantined=counts.get("quarantined", 0),
        errored=counts.get("errored", 0),
        duplicates=int(duplicates),
    )
