"""Decisions about quarantined rows: kept in the lake, added to only, and applied to just what they were made upon."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import duckdb
import polars as pl

from validation.batches import database, frame_of, parquet, quoted
from validation.digests import digest_value
from validation.lake import Lake
from validation.reasons import Stage
from validation.schemas import polars_schema

Verdict = Literal["accept", "reject"]

# What a decision was made upon, besides the reason: another text or other sound has not been decided upon.
_BASIS = ("source_digest", "segment_start_s", "segment_end_s", "text", "messages")


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person decided about one row.

    Attributes:
        reason: What the row was quarantined for when it was decided upon.
        corrected_text: What the row's text shall be; ``None``: as it is.
    """

    utterance_id: str
    basis: tuple[Any, ...]
    reason: str
    decision: Verdict
    corrected_text: str | None
    reviewer: str
    decided_at: datetime
    note: str

    @property
    def told(self) -> str:
        """For the ledger: who decided what, and when."""
        words = f"{self.decision}ed by {self.reviewer} at {self.decided_at:%Y-%m-%d %H:%M:%S} UTC"
        corrected = ", text corrected" if self.corrected_text is not None else ""
        note = f" ({self.note})" if self.note else ""
        return f"{words}{corrected}{note}"


class Decisions:
    """The decisions about one corpus; of two about the same content, the later one counts."""

    def __init__(self, decisions: Iterable[Decision]) -> None:
        self._of: dict[str, list[Decision]] = {}
        for one in decisions:
            self._of.setdefault(one.utterance_id, []).insert(0, one)

    @property
    def utterance_ids(self) -> list[str]:
        """Of the rows that something was decided about."""
        return list(self._of)

    def accepted(self) -> Iterator[Decision]:
        """The acceptances that count, each about another content."""
        for decisions in self._of.values():
            newest: dict[tuple[Any, ...], Decision] = {}
            for one in decisions:
                newest.setdefault(one.basis, one)
            yield from (one for one in newest.values() if one.decision == "accept")

    def about(self, row: Mapping[str, Any], reason: str | None) -> Decision | None:
        """The decision about a row of ``raw_utterances`` that would now end with ``reason``; ``None``: accepted.

        A rejection holds as long as the recording, the segment and the text are the same. So does an acceptance, but
        not of a row that has come to end for another reason: that is asked about again.
        """
        basis = basis_of(row)
        for one in self._of.get(row["utterance_id"], ()):
            if one.basis == basis:
                return one if one.decision == "reject" or reason in (None, one.reason) else None
        return None


def accepted_despite(connection: duckdb.DuckDBPyConnection, decisions: Decisions) -> str:
    """Expression for the reason that a row of the relation ``raw`` was accepted in spite of; null where it was not.

    Args:
        connection: From :func:`validation.batches.database`; it keeps a table of the decisions.
    """
    rows = [(one.utterance_id, one.reason, *one.basis) for one in decisions.accepted()]
    if not rows:
        return "NULL::VARCHAR"
    kinds = polars_schema("review_decisions")
    columns = ("utterance_id", "reason", *_BASIS)
    found = pl.DataFrame(rows, schema={name: kinds[name] for name in columns}, orient="row")
    connection.register("found", found.to_arrow())
    connection.execute("CREATE OR REPLACE TEMP TABLE accepted AS SELECT * FROM found").fetchall()
    connection.unregister("found")
    same = " AND ".join(f"a.{name} IS NOT DISTINCT FROM raw.{name}" for name in ("utterance_id", *_BASIS))
    return f"(SELECT a.reason FROM accepted a WHERE {same})"  # noqa: S608 - names of columns


def basis_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of a row is decided upon, from its columns in ``raw_utterances``."""
    return tuple(row[name] for name in _BASIS)


def content_digest(row: Mapping[str, Any]) -> str:
    """Digest of what is decided upon: the row's recording, segment, text and ``reason``."""
    return digest_value([row["corpus"], row["utterance_id"], *basis_of(row), row["reason"]])


def decision_files(lake: Lake) -> list[str]:
    """Paths of the imports, the earliest first."""
    return [path for path in lake.list_files("tables/review_decisions") if path.endswith(".parquet")]


def read_decisions(lake: Lake, corpus: str) -> pl.DataFrame:
    """The rows of ``review_decisions`` about one corpus, in the order in which they came: as many as people decided."""
    paths = decision_files(lake)
    if not paths:
        return pl.DataFrame(schema=polars_schema("review_decisions"))
    with database(lake) as connection:
        statement = f"""
            SELECT * FROM {parquet(lake, paths)} WHERE corpus = {quoted(corpus)}
            ORDER BY sequence, place, utterance_id"""  # noqa: S608 - all is quoted
        frame = frame_of(connection, statement)
    return frame.select(pl.col(name).cast(kind) for name, kind in polars_schema("review_decisions").items())


def load_decisions(lake: Lake, corpus: str, stage: Stage | None = None) -> tuple[Decisions, str | None]:
    """The decisions about one corpus, and a digest of them; ``None`` where there are none.

    Args:
        stage: Only those about rows that were quarantined there.
    """
    rows = [row for row in read_decisions(lake, corpus).to_dicts() if stage in (None, row["stage"])]
    found = [decision_of(row) for row in rows]
    told = [
        [row["content"], row["decision"], row["corrected_text"], one.told]
        for row, one in zip(rows, found, strict=True)
    ]
    return Decisions(found), digest_value(told) if told else None


def decision_of(row: Mapping[str, Any]) -> Decision:
    """The decision in a row of ``review_decisions``."""
    return Decision(
        utterance_id=row["utterance_id"],
        basis=basis_of(row),
        reason=row["reason"],
        decision=row["decision"],
        corrected_text=row["corrected_text"],
        reviewer=row["reviewer"],
        decided_at=row["decided_at"],
        note=row["note"],
    )
