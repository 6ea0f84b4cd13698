"""Every recording of a corpus handed to a worker once, whichever of its segments are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

import polars as pl
from tqdm import tqdm

from assets.audio.pool import WorkerDied, map_surviving
from assets.audio.problem import AudioProblem
from assets.audio.segments import Segment
from assets.audio.settings import AudioSettings
from assets.audio.work import Recording, SourceTask

FoundT = TypeVar("FoundT")

# What one file may take of a worker. An hour of sound takes a minute; what takes longer than this hangs. Recordings of
# many hours have so much more as Opus of 16 kbit/s at 50 times real time, on a machine that has much else to do.
FILE_LIMIT_S = 600.0
_SLOWEST_BYTES_PER_S = 100_000
# Members of a tar that are one task: an hour of speech, or so.
_RUN_MEMBERS = 64
_RUN_BYTES = 64 << 20

RECORDING = ("audio_uri", "audio_offset", "audio_bytes", "source_digest", "raw_format", "despite")
WANTED = (*RECORDING, "start_s", "end_s", "channel")  # the columns that tasks are made of


def tasks_of(
    lake: str, corpus: str, settings: AudioSettings, rows: Iterable[pl.DataFrame]
) -> Iterator[SourceTask]:
    """Tasks for the segments in the rows, those of one recording and the members of one file next to each other.

    The members of a tar are shared out in runs, so that many workers read one tar and a kill costs no more than a run.
    """
    run: list[Recording] = []
    for recording in _recordings(rows):
        if run and not _continues(run, recording):
            yield SourceTask(lake, corpus, tuple(run), settings)
            run = []
        run.append(recording)
    if run:
        yield SourceTask(lake, corpus, tuple(run), settings)


def _recordings(rows: Iterable[pl.DataFrame]) -> Iterator[Recording]:
    lines = (line for frame in rows for line in frame.select(WANTED).iter_rows())
    count = len(RECORDING)
    for of, segments in groupby(lines, key=itemgetter(slice(0, count))):
        uri, offset, size, digest, raw_format, despite = of
        wanted = tuple(Segment(*segment[count:]) for segment in segments)
        yield Recording(uri, offset, size, digest, raw_format, wanted, despite)


def _continues(run: list[Recording], recording: Recording) -> bool:
    return (
        recording.offset is not None
        and len(run) < _RUN_MEMBERS
        and sum(member.size or 0 for member in run) < _RUN_BYTES
        and run[0].file == recording.file
    )


def each_recording(
    do: Callable[[SourceTask], list[FoundT]],
    tasks: Iterable[SourceTask],
    workers: int,
    limit_s: Callable[[SourceTask], float],
    progress: tqdm[Any],
) -> Iterator[tuple[Recording, FoundT | AudioProblem]]:
    """What ``do`` finds of each recording, as it is done, or what became of the process that did it."""
    apart: list[SourceTask] = []
    for some in (tasks, apart):
        for task, found in map_surviving(do, some, workers, limit_s):
            if isinstance(found, WorkerDied) and len(task.recordings) > 1:
                # One of them did it: the others shall not pay for it.
                apart.extend(replace(task, recordings=(recording,)) for recording in task.recordings)
                continue
            if isinstance(found, WorkerDied):
                yield task.recordings[0], _problem(found)
            else:
                yield from zip(task.recordings, found, strict=True)
            progress.update(len(task.recordings))


def limit_s(task: SourceTask) -> float:
    """What a task may take of a worker: :data:`FILE_LIMIT_S`, and more for a file of many hours."""
    return FILE_LIMIT_S + task.size / _SLOWEST_BYTES_PER_S


def _problem(died: WorkerDied) -> AudioProblem:
    if died.limit_s is None:
        return AudioProblem("worker_died", "ended the process that decoded it, each time")
    detail = f"was not done within the limit of {died.limit_s:.0f} s"
    return AudioProblem("timed_out", detail, died.limit_s, died.limit_s)
