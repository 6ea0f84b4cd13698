"""What the audio pass found, kept in the lake beside the tables: the resumable memory of ``audio_22k``.

One row per (content of the source, extension, segment) with the stored audio and its measures, or with what is wrong.
While a pass runs, its results are appended as small Parquet parts under ``work/audio_22k/<corpus>/``; at its end they
become ``work/audio_22k/<corpus>.parquet`` and the parts go. A pass that was killed, or that meets a corpus of which a
few files changed, does only what is not in there. ``audio_quality`` reads its measures from it, so that no file is
decoded twice.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import fields
from pathlib import PurePosixPath
from typing import Any

import polars as pl

from assets.audio.decode import Segment
from assets.audio.problem import AudioProblem
from assets.audio.work import SegmentResult, StoredAudio
from assets.audio.write import Stored
from validation.errors import UserError
from validation.lake import Lake
from validation.measures import Measures
from validation.stored_audio import WAV_HEADER_BYTES

# Part of the step's inputs and of each row: raise it when decoding, measuring, resampling or writing changes.
AUDIO_RECIPE = 1

# Faults of the machine or the moment, not of the file: they are tried again in the next pass.
_PASSING = frozenset({"worker_died", "unreadable", "missing_audio", "source_changed"})

_MEASURES: dict[str, Any] = {
    field.name: pl.Int64 if field.name == "nonfinite_samples" else pl.Float64 for field in fields(Measures)
}
_STORED = tuple(field.name for field in fields(Stored))
_SOURCE = ("source_rate_hz", "source_channels", "source_format")
_PROBLEM = tuple(field.name for field in fields(AudioProblem))
_SCHEMA: dict[str, Any] = {
    "recipe": pl.Int32,
    "source_digest": pl.String,
    "suffix": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "path": pl.String,
    "digest": pl.String,
    "frames": pl.Int64,
    "source_rate_hz": pl.Int32,
    "source_channels": pl.Int32,
    "source_format": pl.String,
    **_MEASURES,
    "reason": pl.String,
    "value": pl.Float64,
    "limit": pl.Float64,
    "detail": pl.String,
}

ResultKey = tuple[str, str, float, float | None]


def result_key(source_digest: str, uri: str, segment: Segment) -> ResultKey:
    """What determines a result: content, extension (it may contradict the content) and segment."""
    return source_digest, PurePosixPath(uri).suffix.lower(), segment.start_s, segment.end_s


def results_path(corpus: str) -> str:
    """The finished pass's file, relative to the lake's root."""
    return f"work/audio_22k/{corpus}.parquet"


class AudioResults:
    """The results of one corpus, read from and written to the lake.

    Args:
        batch: Results per part: how many are done again after a kill, at most.
    """

    def __init__(self, lake: Lake, corpus: str, batch: int = 512) -> None:
        self._lake = lake
        self._corpus = corpus
        self._batch = batch
        self._pending: list[dict[str, Any]] = []
        self.known: dict[ResultKey, SegmentResult] = {}

    def load(self) -> AudioResults:
        """Read what earlier passes found and is still true: its audio lies in the lake, whole."""
        paths = [*self._lake.list_files(self._folder), results_path(self._corpus)]
        sizes = self._stored_sizes()
        for path in paths:
            if not path.endswith(".parquet") or not self._lake.exists(path):
                continue
            with self._lake.open(path) as stream:
                rows = pl.read_parquet(stream).filter(pl.col("recipe") == AUDIO_RECIPE)
            for row in rows.iter_rows(named=True):
                key, result = _from_row(row)
                if isinstance(result, StoredAudio):
                    stored = result.stored
                    usable = sizes.get(stored.path) == WAV_HEADER_BYTES + 2 * stored.frames
                else:
                    usable = result.reason not in _PASSING
                if usable:
                    self.known[key] = result
        return self

    def add(self, key: ResultKey, result: SegmentResult) -> None:
        """Remember a result; it is on the disk after at most a batch."""
        self.known[key] = result
        self._pending.append(_to_row(key, result))
        if len(self._pending) >= self._batch:
            self.flush()

    def flush(self) -> None:
        """Write what is not on the disk yet."""
        if self._pending:
            self._lake.sync()
            self._write(f"{self._folder}/{uuid.uuid4().hex}.parquet", self._pending)
            self._pending = []

    def finish(self, keys: list[ResultKey]) -> None:
        """Write the pass's one file, with just these results in this order, and remove the parts."""
        self.flush()
        rows = [_to_row(key, self.known[key]) for key in dict.fromkeys(keys)]
        self._write(results_path(self._corpus), rows)
        for path in self._lake.list_files(self._folder):
            self._lake.filesystem.rm(self._lake.full_path(path))

    @property
    def _folder(self) -> str:
        return f"work/audio_22k/{self._corpus}"

    def _write(self, path: str, rows: list[dict[str, Any]]) -> None:
        frame = pl.DataFrame(rows, schema=_SCHEMA, orient="row")
        with self._lake.atomic_write(path) as stream:
            frame.write_parquet(stream, compression="zstd")

    def _stored_sizes(self) -> dict[str, int]:
        folder = f"audio_22k/{self._corpus}"
        root = self._lake.full_path(folder)
        files = self._lake.filesystem.find(root, detail=True)
        return {f"{folder}/{name[len(root) + 1 :]}": int(info["size"]) for name, info in files.items()}


def read_results(lake: Lake, corpus: str) -> dict[ResultKey, SegmentResult]:
    """The results of the last finished pass.

    Raises:
        UserError: if there is none.
    """
    path = results_path(corpus)
    if not lake.exists(path):
        raise UserError(f"corpus {corpus!r}: {lake.uri(path)} is missing; run the step audio_22k first")
    with lake.open(path) as stream:
        return dict(_from_row(row) for row in pl.read_parquet(stream).iter_rows(named=True))


def _to_row(key: ResultKey, result: SegmentResult) -> dict[str, Any]:
    source_digest, suffix, start_s, end_s = key
    row: dict[str, Any] = dict.fromkeys(_SCHEMA)
    row.update(recipe=AUDIO_RECIPE, source_digest=source_digest, suffix=suffix, start_s=start_s, end_s=end_s)
    if isinstance(result, AudioProblem):
        return {**row, **_values(result, _PROBLEM)}
    return {
        **row,
        **_values(result.stored, _STORED),
        **_values(result, _SOURCE),
        **_values(result.measures, _MEASURES),
    }


def _values(holder: object, names: Iterable[str]) -> dict[str, Any]:
    # dataclasses.asdict copies deeply, which took longer than writing the table.
    return {name: getattr(holder, name) for name in names}


def _from_row(row: dict[str, Any]) -> tuple[ResultKey, SegmentResult]:
    key = (row["source_digest"], row["suffix"], row["start_s"], row["end_s"])
    if row["reason"] is not None:
        return key, AudioProblem(row["reason"], row["detail"], row["value"], row["limit"])
    stored = Stored(row["path"], row["digest"], row["frames"])
    measures = Measures(**{name: row[name] for name in _MEASURES})
    return key, StoredAudio(
        stored, row["source_rate_hz"], row["source_channels"], row["source_format"], measures
    )
