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

from assets.audio.problem import AudioProblem
from assets.audio.segments import Segment
from assets.audio.work import Recording, SegmentResult
from assets.audio.write import Stored
from validation.errors import UserError
from validation.lake import Lake
from validation.measures import COUNTS, Measures
from validation.reasons import PASSING
from validation.stored_audio import WAV_HEADER_BYTES

# Part of the step's inputs and of each row: raise it when decoding, measuring, resampling or writing changes.
AUDIO_RECIPE = 4

# What determines a result: content, extension (it may contradict the content), what samples without a header were
# declared to be, and segment, in seconds.
KEY = ("source_digest", "suffix", "raw_format", "start_s", "end_s")

MEASURES = tuple(field.name for field in fields(Measures))
_STORED = tuple(field.name for field in fields(Stored))
_SOURCE = ("source_rate_hz", "source_channels", "source_format")
_PROBLEM = tuple(field.name for field in fields(AudioProblem))
_SCHEMA: dict[str, Any] = {
    "recipe": pl.Int32,
    "source_digest": pl.String,
    "suffix": pl.String,
    "raw_format": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "path": pl.String,
    "digest": pl.String,
    "frames": pl.Int64,
    "source_rate_hz": pl.Int32,
    "source_channels": pl.Int32,
    "source_format": pl.String,
    **{name: pl.Int64 if name in COUNTS else pl.Float64 for name in MEASURES},
    "reason": pl.String,
    "value": pl.Float64,
    "limit": pl.Float64,
    "detail": pl.String,
}


def with_keys(raw: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``raw_utterances`` that have audio, with the columns :data:`KEY` of their results."""
    with_audio = raw.filter(pl.col("audio_uri").is_not_null())
    return with_audio.with_columns(
        suffix=pl.col("audio_uri").map_elements(_suffix, return_dtype=pl.String),
        start_s=pl.col("segment_start_s").fill_null(0.0),
        end_s=pl.col("segment_end_s"),
    )


def results_path(corpus: str) -> str:
    """The finished pass's file, relative to the lake's root."""
    return f"work/audio_22k/{corpus}.parquet"


class AudioResults:
    """The results of one corpus, read from and written to the lake.

    Args:
        batch: Results per part: how many are done again after a kill, at most.

    Attributes:
        known: The results that are on the disk, one row each.
    """

    def __init__(self, lake: Lake, corpus: str, batch: int = 512) -> None:
        self._lake = lake
        self._corpus = corpus
        self._batch = batch
        self._pending: list[dict[str, Any]] = []
        self.known = pl.DataFrame(schema=_SCHEMA)

    def load(self) -> AudioResults:
        """Read what earlier passes found and is still true: its audio lies in the lake, whole."""
        sizes = self._lake.sizes(f"audio_22k/{self._corpus}")
        stored = pl.DataFrame(
            {"path": sizes.keys(), "bytes": sizes.values()}, schema={"path": pl.String, "bytes": pl.Int64}
        )
        paths = [*self._lake.list_files(self._folder), results_path(self._corpus)]
        there = [path for path in paths if path.endswith(".parquet") and self._lake.exists(path)]
        found = pl.concat([self.known, *(_read(self._lake, path) for path in there)])
        is_stored = pl.col("bytes") == WAV_HEADER_BYTES + 2 * pl.col("frames")
        is_fault = ~pl.col("reason").is_in(list(PASSING))
        usable = found.join(stored, on="path", how="left", maintain_order="left").filter(
            (pl.col("recipe") == AUDIO_RECIPE)
            & pl.when(pl.col("reason").is_null()).then(is_stored).otherwise(is_fault)
        )
        self.known = usable.drop("bytes").unique(KEY, keep="first", maintain_order=True)
        return self

    def add(self, recording: Recording, segment: Segment, result: SegmentResult) -> None:
        """Remember a result; it is on the disk after at most a batch."""
        row: dict[str, Any] = dict.fromkeys(_SCHEMA)
        row.update(
            recipe=AUDIO_RECIPE,
            source_digest=recording.digest,
            suffix=_suffix(recording.uri),
            raw_format=recording.raw_format,
            start_s=segment.start_s,
            end_s=segment.end_s,
        )
        if isinstance(result, AudioProblem):
            row.update(_values(result, _PROBLEM))
        else:
            row.update(
                {
                    **_values(result.stored, _STORED),
                    **_values(result, _SOURCE),
                    **_values(result.measures, MEASURES),
                }
            )
        self._pending.append(row)
        if len(self._pending) >= self._batch:
            self.flush()

    def flush(self) -> None:
        """Write what is not on the disk yet."""
        if self._pending:
            self._lake.sync()
            part = pl.DataFrame(self._pending, schema=_SCHEMA, orient="row")
            self._write(f"{self._folder}/{uuid.uuid4().hex}.parquet", part)
            self.known = pl.concat([self.known, part])
            self._pending = []

    def finish(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Write the pass's one file, with the results of just these rows in their order, and remove the parts.

        Args:
            rows: From :func:`with_keys`; each has its result.

        Returns:
            The rows with their results' columns.
        """
        self.flush()
        wanted = rows.select(KEY).unique(maintain_order=True)
        results = wanted.join(self.known, on=KEY, how="left", nulls_equal=True, maintain_order="left")
        assert results["recipe"].null_count() == 0, "a row has no result"
        self._write(results_path(self._corpus), results.select(list(_SCHEMA)))
        for path in self._lake.list_files(self._folder):
            self._lake.filesystem.rm(self._lake.full_path(path))
        return join_results(rows, results)

    @property
    def _folder(self) -> str:
        return f"work/audio_22k/{self._corpus}"

    def _write(self, path: str, frame: pl.DataFrame) -> None:
        with self._lake.atomic_write(path) as stream:
            frame.write_parquet(stream, compression="zstd")


def join_results(rows: pl.DataFrame, results: pl.DataFrame) -> pl.DataFrame:
    """The rows, from :func:`with_keys`, in their order, with their results' columns."""
    return rows.join(results, on=KEY, how="left", nulls_equal=True, maintain_order="left")


def read_results(lake: Lake, corpus: str) -> pl.DataFrame:
    """The results of the last finished pass.

    Raises:
        UserError: if there is none.
    """
    path = results_path(corpus)
    if not lake.exists(path):
        raise UserError(f"corpus {corpus!r}: {lake.uri(path)} is missing; run the step audio_22k first")
    return _read(lake, path)


def _read(lake: Lake, path: str) -> pl.DataFrame:
    with lake.open(path) as stream:
        return pl.read_parquet(stream)


def _suffix(uri: str) -> str:
    return PurePosixPath(uri).suffix.lower()


def _values(holder: object, names: Iterable[str]) -> dict[str, Any]:
    # dataclasses.asdict copies deeply, which took longer than writing the table.
    return {name: getattr(holder, name) for name in names}
