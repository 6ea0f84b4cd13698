"""The step ``audio_22k``: every recording of a corpus to mono 22,050 Hz PCM16, in parallel, measured on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
from tqdm import tqdm

from assets.audio.decode import Segment
from assets.audio.pool import WorkerDied, map_surviving
from assets.audio.problem import AudioProblem
from assets.audio.results import AUDIO_RECIPE, AudioResults, ResultKey, result_key, results_path
from assets.audio.work import SegmentResult, SourceTask, do_source
from assets.corpora.config import CorpusEntry
from validation.digests import digest_value
from validation.lake import Lake
from validation.ledger import LedgerRow, Stage, ledger_partition, write_ledger_part
from validation.schemas import frame_from_rows
from validation.steps import StepOutcome, run_step, table_digest
from validation.stored_audio import STORED_RATE_HZ

STEP: Stage = "audio_22k"


def make_audio_22k(entry: CorpusEntry, lake: Lake, workers: int) -> StepOutcome:
    """Decode, measure, resample and write the audio of the corpus' raw utterances.

    Each source file is read once, by one of ``workers`` processes. Files done in an earlier pass, finished or killed,
    are not done again. A file with a fault becomes a ledger row and stops nothing.

    Raises:
        validation.lake.MissingTableError: if the corpus has not been read (``raw_utterances``).
    """
    corpus = entry.name
    inputs = digest_value(
        {"recipe": AUDIO_RECIPE, "rate": STORED_RATE_HZ, "raw": table_digest(lake, "raw_utterances", corpus)}
    )
    outputs = [
        lake.table_path("audio_22k", corpus),
        lake.table_path("ledger", ledger_partition(corpus, STEP)),
        results_path(corpus),
    ]
    return run_step(lake, STEP, corpus, inputs, outputs, lambda: _compute(corpus, lake, workers))


def _compute(corpus: str, lake: Lake, workers: int) -> dict[str, Any]:
    columns = ["utterance_id", "source", "audio_uri", "source_digest", "segment_start_s", "segment_end_s"]
    raw = lake.read_table("raw_utterances", corpus).filter(pl.col("audio_uri").is_not_null()).select(columns)
    results = AudioResults(lake, corpus).load()
    keys = [_key(row) for row in raw.iter_rows(named=True)]
    reused = sum(key in results.known for key in dict.fromkeys(keys))
    tasks = list(_tasks(corpus, lake, raw, results))
    _run(tasks, results, workers, corpus)
    results.finish(keys)

    stored_rows: list[dict[str, Any]] = []
    ledger: list[LedgerRow] = []
    for row, key in zip(raw.iter_rows(named=True), keys, strict=True):
        result = results.known[key]
        if isinstance(result, AudioProblem):
            detail = f"{row['source']}: {row['audio_uri']} {result.detail}"
            ended = LedgerRow(
                corpus,
                row["utterance_id"],
                row["source"],
                STEP,
                result.reason,
                detail,
                result.value,
                result.limit,
            )
            ledger.append(ended)
            continue
        measures = result.measures
        stored_rows.append(
            {
                "corpus": corpus,
                "utterance_id": row["utterance_id"],
                "audio_path": result.stored.path,
                "audio_digest": result.stored.digest,
                "frames": result.stored.frames,
                "duration_s": result.stored.frames / STORED_RATE_HZ,
                "source_rate_hz": result.source_rate_hz,
                "source_channels": result.source_channels,
                "source_format": result.source_format,
                "peak_dbfs": measures.peak_dbfs,
                "level_dbfs": measures.level_dbfs,
            }
        )
    lake.write_table("audio_22k", corpus, frame_from_rows("audio_22k", stored_rows))
    write_ledger_part(lake, corpus, STEP, ledger)
    hours = sum(row["duration_s"] for row in stored_rows) / 3600
    counts = {"files_done": len(tasks), "reused": reused, "ended_here": len(ledger)}
    return {"rows": len(stored_rows), "hours": round(hours, 4), **counts}


def _tasks(corpus: str, lake: Lake, raw: pl.DataFrame, results: AudioResults) -> Iterator[SourceTask]:
    """One task per source file with a segment that has no result yet, in the order of the table."""
    wanted: dict[tuple[str, str], dict[Segment, None]] = {}
    for row in raw.iter_rows(named=True):
        if _key(row) not in results.known:
            wanted.setdefault((row["audio_uri"], row["source_digest"]), {})[_segment(row)] = None
    for (uri, digest), segments in wanted.items():
        yield SourceTask(lake.url, corpus, uri, digest, tuple(segments))


def _run(tasks: list[SourceTask], results: AudioResults, workers: int, corpus: str) -> None:
    with tqdm(total=len(tasks), desc=f"{corpus}: audio", unit="file", disable=None) as progress:
        try:
            for task, found in map_surviving(do_source, tasks, min(workers, max(len(tasks), 1))):
                for segment, result in zip(task.segments, _per_segment(task, found), strict=True):
                    results.add(result_key(task.digest, task.uri, segment), result)
                progress.update()
        finally:
            # Also when the run is interrupted: what is done stays done.
            results.flush()


def _per_segment(task: SourceTask, found: list[SegmentResult] | WorkerDied) -> list[SegmentResult]:
    if isinstance(found, WorkerDied):
        problem = AudioProblem("worker_died", "ended the process that decoded it, each time")
        return [problem] * len(task.segments)
    return found


def _segment(row: dict[str, Any]) -> Segment:
    return Segment(row["segment_start_s"] or 0.0, row["segment_end_s"])


def _key(row: dict[str, Any]) -> ResultKey:
    return result_key(row["source_digest"], row["audio_uri"], _segment(row))
