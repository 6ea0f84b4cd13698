"""The step ``audio_22k``: every recording of a corpus to mono 22,050 Hz PCM16, in parallel, measured on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
from tqdm import tqdm

from assets.audio.decode import Segment
from assets.audio.pool import WorkerDied, map_surviving
from assets.audio.problem import AudioProblem
from assets.audio.results import AUDIO_RECIPE, KEY, AudioResults, results_path, with_keys
from assets.audio.work import SegmentResult, SourceTask, do_source
from assets.corpora.config import CorpusEntry
from validation.digests import digest_value
from validation.lake import Lake
from validation.ledger import LedgerRow, Stage, has_ended_with, ledger_partition, write_ledger_part
from validation.reasons import PASSING
from validation.schemas import polars_schema
from validation.steps import StepOutcome, run_step, table_digest
from validation.stored_audio import STORED_RATE_HZ, WAV_HEADER_BYTES

STEP: Stage = "audio_22k"

# What one file may take of a worker. An hour of sound takes a minute; what takes longer than this hangs.
FILE_LIMIT_S = 600.0


def make_audio_22k(entry: CorpusEntry, lake: Lake, workers: int) -> StepOutcome:
    """Decode, measure, resample and write the audio of the corpus' raw utterances.

    Each source file is read once, by one of ``workers`` processes. Files done in an earlier pass, finished or killed,
    are not done again unless their stored audio is gone, or what was wrong with them may have passed. A file with a
    fault becomes a ledger row and stops nothing.

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

    def is_whole() -> bool:
        return not has_ended_with(lake, corpus, STEP, PASSING) and _is_stored(corpus, lake)

    return run_step(
        lake, STEP, corpus, inputs, outputs, lambda: _compute(corpus, lake, workers), is_whole=is_whole
    )


def _is_stored(corpus: str, lake: Lake) -> bool:
    """Whether every file that the table names lies in the lake, whole."""
    sizes = lake.sizes(f"audio_22k/{corpus}")
    table = lake.read_table("audio_22k", corpus).select("audio_path", "frames")
    return all(sizes.get(path) == WAV_HEADER_BYTES + 2 * frames for path, frames in table.iter_rows())


def _compute(corpus: str, lake: Lake, workers: int) -> dict[str, Any]:
    rows = with_keys(lake.read_table("raw_utterances", corpus))
    results = AudioResults(lake, corpus).load()
    wanted = rows.unique(KEY, keep="first", maintain_order=True)
    missing = wanted.join(results.known, on=KEY, how="anti", nulls_equal=True, maintain_order="left")
    sources = missing.group_by("audio_uri", "source_digest", maintain_order=True).agg("start_s", "end_s")
    _run(_tasks(corpus, lake, sources), sources.height, results, workers, corpus)
    found = results.finish(rows)

    stored = found.filter(pl.col("reason").is_null()).with_columns(
        audio_path="path", audio_digest="digest", duration_s=pl.col("frames") / STORED_RATE_HZ
    )
    table = stored.select(list(polars_schema("audio_22k")))
    lake.write_table("audio_22k", corpus, table)
    faults = found.filter(pl.col("reason").is_not_null())
    write_ledger_part(lake, corpus, STEP, (_ledger_row(corpus, row) for row in faults.iter_rows(named=True)))
    counts = {
        "files_done": sources.height,
        "reused": wanted.height - missing.height,
        "ended_here": faults.height,
    }
    hours = float(table["duration_s"].sum()) / 3600
    return {"rows": table.height, "hours": round(hours, 4), **counts}


def _ledger_row(corpus: str, row: dict[str, Any]) -> LedgerRow:
    detail = f"{row['source']}: {row['audio_uri']} {row['detail']}"
    place = (corpus, row["utterance_id"], row["source"])
    return LedgerRow(*place, STEP, row["reason"], detail, row["value"], row["limit"])


def _tasks(corpus: str, lake: Lake, sources: pl.DataFrame) -> Iterator[SourceTask]:
    """One task per source file with segments that have no result yet, in the order of the table."""
    for uri, digest, starts, ends in sources.iter_rows():
        segments = tuple(Segment(start_s, end_s) for start_s, end_s in zip(starts, ends, strict=True))
        yield SourceTask(lake.url, corpus, uri, digest, segments)


def _run(tasks: Iterator[SourceTask], files: int, results: AudioResults, workers: int, corpus: str) -> None:
    with tqdm(total=files, desc=f"{corpus}: audio", unit="file", disable=None) as progress:
        try:
            for task, found in map_surviving(do_source, tasks, min(workers, max(files, 1)), FILE_LIMIT_S):
                for segment, result in zip(task.segments, _per_segment(task, found), strict=True):
                    results.add(task, segment, result)
                progress.update()
        finally:
            # Also when the run is interrupted: what is done stays done.
            results.flush()


def _per_segment(task: SourceTask, found: list[SegmentResult] | WorkerDied) -> list[SegmentResult]:
    if not isinstance(found, WorkerDied):
        return found
    if found.limit_s is None:
        problem = AudioProblem("worker_died", "ended the process that decoded it, each time")
    else:
        detail = f"was not done within the limit of {found.limit_s:.0f} s"
        problem = AudioProblem("timed_out", detail, found.limit_s, found.limit_s)
    return [problem] * len(task.segments)
