"""The review queue: the rows of the ledger that are quarantined, with all that a person needs to judge them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from validation.batches import batches_of, database, parquet
from validation.lake import Lake
from validation.ledger import ledger_sql
from validation.reasons import Stage
from validation.review import Decision, content_digest, load_decisions


@dataclass(frozen=True)
class QueueItem:
    """A quarantined row.

    Attributes:
        row: Its columns in the ledger and, of ``raw_utterances``, the text and what says which recording it is.
        audio: Path in the lake of its stored audio; ``None`` where it has none.
        decision: What has been decided already, and the next run will apply.
    """

    row: dict[str, Any]
    audio: str | None
    decision: Decision | None

    @property
    def corpus(self) -> str:
        """Name of the corpus."""
        return str(self.row["corpus"])

    @property
    def utterance_id(self) -> str:
        """Id of the row, which is unique within its corpus."""
        return str(self.row["utterance_id"])

    @property
    def stage(self) -> Stage:
        """Where the row ended."""
        stage: Stage = self.row["stage"]
        return stage

    @cached_property
    def content(self) -> str:
        """Digest of what is decided upon."""
        return content_digest(self.row)


def review_queue(
    lake: Lake, corpora: Sequence[str], only: Collection[str] | None = None
) -> Iterator[QueueItem]:
    """The quarantined rows of these corpora, by corpus and id; a corpus without a ledger has none.

    Args:
        only: Ids of the rows that are wanted; ``None``: all of them.
    """
    for corpus in corpora:
        ledger = ledger_sql(lake, corpus)
        if ledger is None or not lake.has_table("raw_utterances", corpus):
            continue
        decisions, _ = load_decisions(lake, corpus)
        raw = parquet(lake, [lake.table_path("raw_utterances", corpus)])
        stored = "(SELECT NULL::VARCHAR AS utterance_id, NULL::VARCHAR AS audio_path WHERE false)"
        if lake.has_table("audio_22k", corpus):
            stored = parquet(lake, [lake.table_path("audio_22k", corpus)])
        with database(lake) as connection:
            wanted = ""
            if only is not None:
                connection.register(
                    "wanted", pl.DataFrame({"id": pl.Series(list(only), dtype=pl.String)}).to_arrow()
                )
                wanted = "AND l.utterance_id IN (SELECT id FROM wanted)"
            statement = f"""
                SELECT l.*, coalesce(r.text, '') AS text, r.messages, r.source_digest, r.segment_start_s,
                    r.segment_end_s, r.audio_uri, a.audio_path
                FROM {ledger} l LEFT JOIN {raw} r USING (utterance_id) LEFT JOIN {stored} a USING (utterance_id)
                WHERE l.outcome = 'quarantined' {wanted}
                ORDER BY l.utterance_id"""  # noqa: S608 - the paths are quoted, the rest is our own
            for batch in batches_of(connection, statement):
                for row in batch.iter_rows(named=True):
                    yield QueueItem(row, row["audio_path"], decisions.about(row, row["reason"]))
