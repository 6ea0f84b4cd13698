"""The step ``accepted_utterances``: contract and thresholds, one ledger row for every utterance that is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from assets.corpora.candidates import candidates
from assets.corpora.config import CorpusEntry
from assets.corpora.judgement import Judge, said
from validation.ahead import ahead
from validation.batches import database, frame_of, spool, write_batches
from validation.digests import digest_value
from validation.lake import Lake
from validation.ledger import Stage, ledger_counts, ledger_partition, write_ledger_frames
from validation.review import load_decisions
from validation.schemas import TableName, polars_schema
from validation.steps import StepOutcome, run_step, table_digest
from validation.text.measures import text_keys
from validation.thresholds import Thresholds

STEP: Stage = "accepted_utterances"
_RECIPE = 4


def accept(entry: CorpusEntry, lake: Lake) -> StepOutcome:
    """Keep the utterances whose audio was stored and whose measures are within the thresholds.

    Text rows have no audio to fail, but their text is measured as that of the others is. What is accepted has its text
    in normal form (:func:`validation.text.normal.normal_text`). A conversation is kept only with all of its audio: an
    utterance that would be good but has lost a companion is rejected as ``companion_lost``. The thresholds are the
    project's, and the entry's own over them. What people decided about quarantined rows comes before the thresholds
    (:mod:`validation.review`).

    Whatever the corpus' size, a batch of it is in memory at once.

    Raises:
        validation.lake.MissingTableError: if an earlier step has not been done.
        validation.thresholds.ThresholdError: if the entry overrides what there is not.
    """
    limits = entry.limits
    corpus = entry.name
    names: tuple[TableName, ...] = ("raw_utterances", "audio_22k", "audio_quality")
    digests = {name: table_digest(lake, name, corpus) for name in names}
    settings = {"thresholds": limits.model_dump(mode="json"), "language": entry.models.language}
    decisions, decided = load_decisions(lake, corpus)
    inputs = digest_value({"recipe": _RECIPE, **settings, **digests, "decisions": decided})
    outputs = [
        lake.table_path("accepted_utterances", corpus),
        lake.table_path("ledger", ledger_partition(corpus, STEP)),
    ]

    def compute() -> dict[str, Any]:
        occurrences = _frequent_texts(lake, corpus, limits)
        judge = Judge(corpus, STEP, limits, decisions, occurrences, entry.models.language)
        return _compute(corpus, lake, judge)

    return run_step(lake, STEP, corpus, inputs, outputs, compute)


def _compute(corpus: str, lake: Lake, judge: Judge) -> dict[str, Any]:
    seconds = 0.0
    splits: Counter[str] = Counter()
    columns = list(polars_schema("accepted_utterances"))
    with spool() as ledger:

        def kept() -> Iterator[pl.DataFrame]:
            nonlocal seconds
            for batch in ahead(_whole_conversations(candidates(lake, corpus))):
                accepted, ends = judge.judge(batch)
                ledger.add(ends)
                seconds += float(accepted["duration_s"].sum() or 0.0)
                splits.update(dict(accepted["split"].value_counts().iter_rows()))
                rows = accepted.select(columns)
                del batch, accepted, ends  # they would be held until the rows are written
                yield rows

        written = write_batches(lake, "accepted_utterances", corpus, ahead(kept()))
        write_ledger_frames(lake, corpus, STEP, ledger.batches())
    counts = ledger_counts(lake, corpus)
    by_outcome = counts.group_by("outcome").agg(pl.col("rows").sum()).sort("outcome")
    return {
        "rows": written,
        "hours": round(seconds / 3600, 4),
        "outcomes": dict(by_outcome.iter_rows()),
        "reasons": dict(counts.select("reason", "rows").iter_rows()),
        "splits": dict(sorted(splits.items())),
    }


def _whole_conversations(batches: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same rows, no conversation divided: its rows come from one line of the corpus, so they follow one another."""
    held: pl.DataFrame | None = None
    for batch in batches:
        rows = batch if held is None else pl.concat([held, batch])
        held = None
        last = rows["conversation_id"][-1] if rows.height else None
        if last is not None:
            first_of_last = rows["conversation_id"].eq_missing(last).arg_true()[0]
            rows, held = rows[:first_of_last], rows[first_of_last:]
        if rows.height:
            yield rows
    if held is not None:
        yield held


def _frequent_texts(lake: Lake, corpus: str, limits: Thresholds) -> pl.DataFrame:
    """Keys of the texts that stand in more rows of the corpus than are allowed, and in how many."""
    columns = ["utterance_id", "audio_uri", "text", "messages"]
    with database(lake) as connection:
        connection.execute("CREATE TABLE texts (key UBIGINT)")
        for batch in candidates(lake, corpus, columns):
            connection.register("batch", text_keys(said(batch)).drop_nulls().to_frame("key").to_arrow())
            connection.execute("INSERT INTO texts SELECT key FROM batch")
        return frame_of(
            connection,
            "SELECT key, count(*)::BIGINT AS text_occurrences FROM texts GROUP BY key HAVING count(*) > ?",
            [limits.max_text_occurrences],
        )
