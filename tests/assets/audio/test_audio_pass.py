"""Recordings of one file handed out in runs: each byte read about once, and a crash costs only what crashes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tqdm import tqdm

from assets.audio import audio_pass
from assets.audio.audio_pass import each_recording, tasks_of
from assets.audio.columns import ColumnFile
from assets.audio.pool import WorkerDied
from assets.audio.problem import AudioProblem
from assets.audio.settings import AudioSettings
from assets.audio.work import SourceTask

ROWS, BYTES = 1_000, 20_000


def missing(file: str, names: Sequence[str], offsets: Sequence[int]) -> pl.DataFrame:
    count = len(names)
    return pl.DataFrame(
        {
            "audio_uri": [f"{file}!{name}" for name in names],
            "audio_offset": offsets,
            "audio_bytes": [BYTES] * count,
            "source_digest": ["0"] * count,
            "raw_format": pl.Series([None] * count, dtype=pl.String),
            "despite": pl.Series([None] * count, dtype=pl.String),
            "start_s": [0.0] * count,
            "end_s": pl.Series([None] * count, dtype=pl.Float64),
            "channel": pl.Series([None] * count, dtype=pl.Int32),
        }
    )


def runs(frame: pl.DataFrame, recordings: int) -> list[SourceTask]:
    return list(tasks_of("lake", "corpus", AudioSettings(), [frame], recordings, 2))


class Counted(io.FileIO):
    """A file that knows how much of it was read."""

    bytes = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.bytes += len(data)
        return data


@pytest.mark.parametrize(("recordings", "count", "most"), [(100_000, 1, 1.1), (ROWS, 8, 8.2)])
def test_rows_of_a_column_are_read_about_once_however_large_their_groups(tmp_path, recordings, count, most):
    path = tmp_path / "x.parquet"
    rng = np.random.default_rng(0)
    table = pa.table({"audio": [rng.bytes(BYTES) for _ in range(ROWS)]})
    pq.write_table(table, path, row_group_size=ROWS, compression="none")
    tasks = runs(missing(str(path), [f"audio/{n}" for n in range(ROWS)], range(ROWS)), recordings)
    assert sum(len(task.recordings) for task in tasks) == ROWS
    assert len(tasks) == count
    read = 0
    for task in tasks:
        with Counted(path) as file:
            column = ColumnFile(file)
            for recording in task.recordings:
                assert len(column.value("audio", recording.offset)) == BYTES
            read += file.bytes
    assert read <= most * path.stat().st_size


def test_members_of_a_tar_are_shared_out_in_runs_of_an_hour_or_so():
    tasks = runs(missing("x.tar", [f"{n}.wav" for n in range(ROWS)], range(ROWS)), 1_000_000)
    assert {len(task.recordings) for task in tasks} == {64, ROWS % 64}
    both = pl.concat([missing("x.tar", ["a.wav"], [0]), missing("y.tar", ["a.wav"], [0])])
    assert [len(task.recordings) for task in runs(both, 2)] == [1, 1]


def test_of_a_run_that_ends_its_process_only_the_one_that_does_is_lost(monkeypatch):
    asked: list[int] = []

    def without_processes(do, tasks, workers, limit_s):
        for task in tasks:
            asked.append(len(task.recordings))
            offsets = [recording.offset for recording in task.recordings]
            yield task, WorkerDied() if 23 in offsets else do(task)

    monkeypatch.setattr(audio_pass, "map_surviving", without_processes)
    frame = missing("x.tar", [f"{n}.wav" for n in range(60)], range(60))
    with tqdm(disable=True, total=60) as progress:
        done = each_recording(offsets_of, runs(frame, 60), 2, lambda _: 60.0, progress)
        found = {recording.offset: result for recording, result in done}
    problem = found.pop(23)
    assert isinstance(problem, AudioProblem) and problem.reason == "worker_died"
    assert found == {n: n for n in range(60) if n != 23}
    assert asked == [60, *[8] * 7, 4, *[1] * 8]


def offsets_of(task: SourceTask) -> list[int | None]:
    return [recording.offset for recording in task.recordings]
