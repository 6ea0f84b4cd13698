"""The step ``audio_22k``: every recording of a corpus to mono 22,050 Hz PCM16, in parallel, measured on the way."""

# ruff: noqa: S608 - statements are made of names of columns and quoted paths
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
from tqdm import tqdm

from assets.audio.audio_pass import each_recording, limit_s, tasks_of
from assets.audio.memory import run
from assets.audio.problem import AudioProblem
from assets.audio.results import (
    AUDIO_RECIPE,
    RESULTS_RECIPE,
    AudioResults,
    is_whole_sql,
    keyed_sql,
    list_stored,
    results_path,
    with_results,
)
from assets.audio.work import do_source
from assets.corpora.config import CorpusEntry
from validation.batches import Spool, database, files_of, spool, write_batches
from validation.digests import digest_value
from validation.lake import Lake
from validation.ledger import (
    LedgerRow,
    Stage,
    has_ended_with,
    ledger_frame,
    ledger_partition,
    write_ledger_frames,
)
from validation.reasons import OUTCOME_OF, PASSING, Reason
from validation.review import Decisions, accepted_despite, load_decisions
from validation.schemas import polars_schema
from validation.steps import StepOutcome, run_step, table_digest
from validation.stored_audio import STORED_RATE_HZ

STEP: Stage = "audio_22k"


def make_audio_22k(entry: CorpusEntry, lake: Lake, workers: int) -> StepOutcome:
    """Decode, measure, resample and write the audio of the corpus' raw utterances.

    Each recording is read and decoded once, by one of ``workers`` processes, however many segments it has. Segments
    done in an earlier pass, finished or killed, are not done again unless their stored audio is gone, or what was wrong
    with them may have passed. A recording with a fault becomes a ledger row and stops nothing. Of one that is
    quarantined here, a person may have decided that it is to be rejected, or, where some of it is there, accepted as it
    is: then that is stored, with the fault and the decision beside it.

    Raises:
        validation.lake.MissingTableError: if the corpus has not been read (``raw_utterances``).
    """
    corpus = entry.name
    made_from = {
        "recipe": [AUDIO_RECIPE, RESULTS_RECIPE],
        "rate": STORED_RATE_HZ,
        "settings": entry.audio.digest,
        "raw": table_digest(lake, "raw_utterances", corpus),
    }
    decisions, decided = load_decisions(lake, corpus, STEP)
    if decided is not None:
        made_from["decisions"] = decided
    inputs = digest_value(made_from)
    outputs = [
        lake.table_path("audio_22k", corpus),
        lake.table_path("ledger", ledger_partition(corpus, STEP)),
        results_path(corpus),
    ]

    def is_whole() -> bool:
        return not has_ended_with(lake, corpus, STEP, PASSING) and _is_stored(corpus, lake)

    return run_step(
        lake,
        STEP,
        corpus,
        inputs,
        outputs,
        lambda: _compute(entry, lake, workers, decisions),
        is_whole=is_whole,
    )


def _is_stored(corpus: str, lake: Lake) -> bool:
    """Whether every file that the table names lies in the lake, whole."""
    with database(lake) as connection:
        list_stored(connection, lake, corpus)
        table = files_of(lake, "audio_22k", [corpus])
        is_there = f"{is_whole_sql('audio_path', 'frames')} AND {is_whole_sql('view_path', 'view_frames')}"
        return run(connection, f"SELECT count(*) FROM {table} WHERE NOT ({is_there})") == [(0,)]


def _compute(entry: CorpusEntry, lake: Lake, workers: int, decisions: Decisions) -> dict[str, Any]:
    corpus = entry.name
    with database(lake) as connection, spool() as faults:
        raw = files_of(lake, "raw_utterances", [corpus])
        rows = keyed_sql(raw, accepted_despite(connection, decisions))
        results = AudioResults(lake, corpus, entry.audio, connection)
        missing = results.memory.find_missing(rows)
        files = missing.recordings
        tasks = tasks_of(lake.url, corpus, entry.audio, results.memory.missing(), files, workers)
        try:
            with tqdm(total=files, desc=f"{corpus}: audio", unit="file", disable=None) as progress:
                done = each_recording(do_source, tasks, min(workers, max(files, 1)), limit_s, progress)
                for recording, found in done:
                    every = [found] * len(recording.segments) if isinstance(found, AudioProblem) else found
                    for segment, result in zip(recording.segments, every, strict=True):
                        results.add(recording, segment, result)
        finally:
            # Also when the run is interrupted: what is done stays done.
            results.flush()
        summary = _Summary(decisions)
        results.finish(rows)
        stored = summary.split(corpus, with_results(lake, corpus), faults)
        height = write_batches(lake, "audio_22k", corpus, stored)
        write_ledger_frames(lake, corpus, STEP, faults.batches())
    counts = {"files_done": files, "reused": missing.wanted - missing.missing, "ended_here": summary.faults}
    return {"rows": height, "hours": round(summary.seconds / 3600, 4), **counts}


class _Summary:
    """Counts of a table while it is written."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self.seconds = 0.0
        self.faults = 0

    def split(self, corpus: str, found: Iterator[pl.DataFrame], faults: Spool) -> Iterator[pl.DataFrame]:
        """Rows of ``audio_22k``; those with a fault are set aside for the ledger."""
        for frame in found:
            wrong = frame.filter(pl.col("reason").is_not_null())
            if wrong.height:
                faults.add(ledger_frame(self._ledger_row(corpus, row) for row in wrong.iter_rows(named=True)))
            stored = self._told(frame.filter(pl.col("reason").is_null())).with_columns(
                audio_path="path", audio_digest="digest", duration_s=pl.col("frames") / STORED_RATE_HZ
            )
            self.faults += wrong.height
            self.seconds += float(stored["duration_s"].sum())
            yield stored.select(pl.col(name).cast(kind) for name, kind in polars_schema("audio_22k").items())

    def _told(self, stored: pl.DataFrame) -> pl.DataFrame:
        """The rows with the decision by which some of them were stored."""
        told: dict[str, str] = {}
        for row in stored.filter(pl.col("despite").is_not_null()).iter_rows(named=True):
            decision = self._decisions.about(row, row["despite"])
            assert decision is not None, "it was this decision that made the row's key"
            told[row["utterance_id"]] = decision.told
        decided = pl.col("utterance_id").replace_strict(told, default=None, return_dtype=pl.String)
        return stored.with_columns(decision=decided if told else pl.lit(None, pl.String))

    def _ledger_row(self, corpus: str, row: dict[str, Any]) -> LedgerRow:
        detail = f"{row['source']}: {row['audio_uri']} {row['detail']}"
        reason: Reason = row["reason"]
        decision = self._decisions.about(row, reason) if OUTCOME_OF[reason] == "quarantined" else None
        if decision is not None and decision.decision == "reject":
            reason, detail = "rejected_by_review", f"{decision.told}: {detail}"
        place = (corpus, row["utterance_id"], row["source"])
        return LedgerRow(*place, STEP, reason, detail, row["value"], row["limit"])
