"""The step ``audio_22k``: every recording of a corpus to mono 22,050 Hz PCM16, in parallel, measured on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import polars as pl
from tqdm import tqdm

from assets.audio.members import split_member
from assets.audio.pool import WorkerDied, map_surviving
from assets.audio.problem import AudioProblem
from assets.audio.results import AUDIO_RECIPE, KEY, AudioResults, results_path, with_keys
from assets.audio.segments import Segment
from assets.audio.work import Recording, SegmentResult, SourceTask, do_source
from assets.corpora.config import CorpusEntry
from validation.digests import digest_value
from validation.lake import Lake
from validation.ledger import LedgerRow, Stage, has_ended_with, ledger_partition, write_ledger_part
from validation.reasons import PASSING
from validation.schemas import polars_schema
from validation.steps import StepOutcome, run_step, table_digest
from validation.stored_audio import STORED_RATE_HZ, WAV_HEADER_BYTES

STEP: Stage = "audio_22k"
_RECORDING = ("audio_uri", "audio_offset", "audio_bytes", "source_digest", "raw_format")

# What one file may take of a worker. An hour of sound takes a minute; what takes longer than this hangs. Recordings of
# many hours have so much more as Opus of 16 kbit/s at 50 times real time, on a machine that has much else to do.
FILE_LIMIT_S = 600.0
_SLOWEST_BYTES_PER_S = 100_000
# Members of a tar that are one task: an hour of speech, or so.
_RUN_MEMBERS = 64
_RUN_BYTES = 64 << 20


def make_audio_22k(entry: CorpusEntry, lake: Lake, workers: int) -> StepOutcome:
    """Decode, measure, resample and write the audio of the corpus' raw utterances.

    Each recording is read and decoded once, by one of ``workers`` processes, however many segments it has. Segments
    done in an earlier pass, finished or killed, are not done again unless their stored audio is gone, or what was wrong
    with them may have passed. A recording with a fault becomes a ledger row and stops nothing.

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
    sources = _in_order_of_files(missing)
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


def _in_order_of_files(missing: pl.DataFrame) -> pl.DataFrame:
    """One row per recording with lists of its segments; the members of a tar together, as they lie in it."""
    recordings = missing.group_by(_RECORDING, maintain_order=True).agg("start_s", "end_s")
    uris = zip(recordings["audio_uri"], recordings["audio_offset"], strict=True)
    files = [uri if offset is None else split_member(uri)[0] for uri, offset in uris]
    numbered = recordings.with_row_index("place").with_columns(file=pl.Series(files, dtype=pl.String))
    first = pl.col("place").min().over("file")
    return numbered.sort(first, "audio_offset", "place").drop("file", "place")


def _tasks(corpus: str, lake: Lake, sources: pl.DataFrame) -> Iterator[SourceTask]:
    """Tasks for the recordings with segments that have no result yet: each file's together, in its order.

    The members of a tar are shared out in runs, so that many workers read one tar and a kill costs no more than a run.
    """
    run: list[Recording] = []
    for uri, offset, size, digest, raw_format, starts, ends in sources.iter_rows():
        segments = tuple(Segment(start_s, end_s) for start_s, end_s in zip(starts, ends, strict=True))
        recording = Recording(uri, offset, size, digest, raw_format, segments)
        if run and not _continues(run, recording):
            yield SourceTask(lake.url, corpus, tuple(run))
            run = []
        run.append(recording)
    if run:
        yield SourceTask(lake.url, corpus, tuple(run))


def _continues(run: list[Recording], recording: Recording) -> bool:
    return (
        recording.offset is not None
        and len(run) < _RUN_MEMBERS
        and sum(member.size or 0 for member in run) < _RUN_BYTES
        and run[0].file == recording.file
    )


def _run(tasks: Iterator[SourceTask], files: int, results: AudioResults, workers: int, corpus: str) -> None:
    apart: list[SourceTask] = []
    with tqdm(total=files, desc=f"{corpus}: audio", unit="file", disable=None) as progress:

        def do(tasks: Iterable[SourceTask]) -> None:
            for task, found in map_surviving(do_source, tasks, min(workers, max(files, 1)), limit_s):
                if isinstance(found, WorkerDied) and len(task.recordings) > 1:
                    # One of them did it: the others shall not pay for it.
                    apart.extend(replace(task, recordings=(recording,)) for recording in task.recordings)
                    continue
                for recording, found_of_it in zip(task.recordings, _per_recording(task, found), strict=True):
                    for segment, result in zip(recording.segments, found_of_it, strict=True):
                        results.add(recording, segment, result)
                progress.update(len(task.recordings))

        try:
            do(tasks)
            do(apart)
        finally:
            # Also when the run is interrupted: what is done stays done.
            results.flush()


def limit_s(task: SourceTask) -> float:
    """What a task may take of a worker: :data:`FILE_LIMIT_S`, and more for a file of many hours."""
    return FILE_LIMIT_S + task.size / _SLOWEST_BYTES_PER_S


def _per_recording(
    task: SourceTask, found: list[list[SegmentResult]] | WorkerDied
) -> list[list[SegmentResult]]:
    if not isinstance(found, WorkerDied):
        return found
    if found.limit_s is None:
        problem = AudioProblem("worker_died", "ended the process that decoded it, each time")
    else:
        detail = f"was not done within the limit of {found.limit_s:.0f} s"
        problem = AudioProblem("timed_out", detail, found.limit_s, found.limit_s)
    return [[problem] * len(recording.segments) for recording in task.recordings]
