"""Every recording of a corpus handed to a worker once, whichever of its segments are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

import polars as pl
from tqdm import tqdm

from assets.audio.column_names import is_columnar
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
# Members of a tar that are one task, and their bytes: an hour of speech, or so. Of a column there are more, since a row
# is read with all before it in its group, often a thousand of them; of few rows, no worker shall have all.
_OF_A_TAR = (64, 64 << 20)
_OF_A_COLUMN = (4_096, 512 << 20)
_RUNS_PER_WORKER = 4
_SHARED_OUT = 8  # tasks that a run becomes of which one recording ended the process

RECORDING = ("audio_uri", "audio_offset", "audio_bytes", "source_digest", "raw_format", "despite")
WANTED = (*RECORDING, "start_s", "end_s", "channel")  # the columns that tasks are made of


def tasks_of(
    lake: str,
    corpus: str,
    settings: AudioSettings,
    rows: Iterable[pl.DataFrame],
    recordings: int,
    workers: int,
) -> Iterator[SourceTask]:
    """Tasks for the segments in the rows, those of one recording and the members of one file next to each other.

    Members of a tar, and rows of a column, are shared out in runs, so that many workers read one file and a kill costs
    no more than a run.

    Args:
        recordings: How many the rows are of, for as many workers.
    """
    share = max(recordings // (_RUNS_PER_WORKER * workers), _OF_A_TAR[0])
    of_a_column = (min(share, _OF_A_COLUMN[0]), _OF_A_COLUMN[1])
    run: list[Recording] = []
    file, size = "", 0
    for recording in _recordings(rows):
        of = recording.file
        most, most_bytes = of_a_column if is_columnar(of) else _OF_A_TAR
        if run and (recording.offset is None or of != file or len(run) >= most or size >= most_bytes):
            yield SourceTask(lake, corpus, tuple(run), settings)
            run, size = [], 0
        run.append(recording)
        file, size = of, size + (recording.size or 0)
    if run:
        yield SourceTask(lake, corpus, tuple(run), settings)


def _recordings(rows: Iterable[pl.DataFrame]) -> Iterator[Recording]:
    lines = (line for frame in rows for line in frame.select(WANTED).iter_rows())
    count = len(RECORDING)
    for of, segments in groupby(lines, key=itemgetter(slice(0, count))):
        uri, offset, size, digest, raw_format, despite = of
        wanted = tuple(Segment(*segment[count:]) for segment in segments)
        yield Recording(uri, offset, size, digest, raw_format, wanted, despite)


def each_recording(
    do: Callable[[SourceTask], list[FoundT]],
    tasks: Iterable[SourceTask],
    workers: int,
    limit_s: Callable[[SourceTask], float],
    progress: tqdm[Any],
) -> Iterator[tuple[Recording, FoundT | AudioProblem]]:
    """What ``do`` finds of each recording, as it is done, or what became of the process that did it."""
    waiting = tasks
    while True:
        apart: list[SourceTask] = []
        for task, found in map_surviving(do, waiting, workers, limit_s):
            if isinstance(found, WorkerDied) and len(task.recordings) > 1:
                # One of them did it: the others shall not pay for it.
                apart += _parts(task)
                continue
            if isinstance(found, WorkerDied):
                yield task.recordings[0], _problem(found)
            else:
                yield from zip(task.recordings, found, strict=True)
            progress.update(len(task.recordings))
        if not apart:
            return
        waiting = apart


def _parts(task: SourceTask) -> Iterator[SourceTask]:
    size = -(-len(task.recordings) // _SHARED_OUT)
    for start in range(0, len(task.recordings), size):
        yield replace(task, recordings=task.recordings[start : start + size])


def limit_s(task: SourceTask) -> float:
    """What a task may take of a worker: :data:`FILE_LIMIT_S`, and more for a file of many hours."""
    return FILE_LIMIT_S + task.size / _SLOWEST_BYTES_PER_S


def _problem(died: WorkerDied) -> AudioProblem:
    if died.limit_s is None:
        return AudioProblem("worker_died", "ended the process that decoded it, each time")
    detail = f"was not done within the limit of {died.limit_s:.0f} s"
    return AudioProblem("timed_out", detail, died.limit_s, died.limit_s)
