"""Models listening to a corpus: what those that its entry turns on say of each recording, remembered in the lake.

Shapes: N samples.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import polars as pl
import soxr
from tqdm import tqdm

from assets.audio.decode import open_source
from assets.audio.pool import WorkerDied, map_surviving
from assets.audio.problem import AudioFaultError, AudioProblem
from assets.audio.raw_format import RawFormat
from assets.audio.results import KEY
from assets.audio.segments import Decoded, Segment
from assets.audio.settings import ChannelPolicy
from assets.audio.source_file import opened_container, opened_source
from assets.audio.work import Recording, container_of
from validation.digests import digest_value
from validation.lake import Lake
from validation.listening.config import LISTENING_RATE_HZ, ModelMeasures
from validation.listening.listener import Listened, check_packages, listener, models_digest
from validation.measures import Waveform, without_nonfinite

LISTENED = tuple(field.name for field in fields(Listened))
_BATCH = 64  # recordings done again after a kill, at most
_LIMIT_S = 3_600.0  # for one recording: the slowest of the models needs less than a second for one of sound
_WANTED = (*KEY, "language")
_RECORDING = ("audio_uri", "audio_offset", "audio_bytes", "source_digest", "raw_format", "suffix", "language")
_SCHEMA: dict[str, Any] = {
    "models": pl.String,
    "source_digest": pl.String,
    "suffix": pl.String,
    "raw_format": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "channel": pl.Int32,
    "language": pl.String,
    **{name: pl.String if name == "heard_text" else pl.Float64 for name in LISTENED},
}


@dataclass(frozen=True, slots=True)
class ListenTask:
    """Segments of one recording, all in one language, and the models for them."""

    recording: Recording
    suffix: str
    language: str
    models: ModelMeasures
    channels: ChannelPolicy


def listen(
    corpus: str, rows: pl.DataFrame, models: ModelMeasures, channels: ChannelPolicy, lake: Lake, workers: int
) -> pl.DataFrame:
    """The rows with the columns :data:`LISTENED`; null where a model is off or has nothing to say.

    Each recording is decoded again, from its source, and brought to 16 kHz: what is stored has been resampled once
    already. Recordings that these very models have heard are not heard again, also after a kill.

    Args:
        rows: With the columns of ``raw_utterances`` and :data:`assets.audio.results.KEY`, their audio stored.

    Raises:
        ConfigurationError: if a model's package is missing.
    """
    if not models.listens:
        return rows.with_columns(pl.lit(None, dtype=_SCHEMA[name]).alias(name) for name in LISTENED)
    check_packages(models)
    digest = listening_digest(models, channels)
    memory = _Memory(lake, corpus, digest)
    wanted = rows.unique(_WANTED, keep="first", maintain_order=True)
    missing = wanted.join(memory.known, on=_WANTED, how="anti", nulls_equal=True, maintain_order="left")
    tasks = missing.group_by(_RECORDING, maintain_order=True).agg("start_s", "end_s", "channel")
    with tqdm(total=tasks.height, desc=f"{corpus}: models", unit="file", disable=None) as progress:
        try:
            at_once = min(workers, max(tasks.height, 1))
            for task, heard in map_surviving(do_listen, _tasks(tasks, models, channels), at_once, _limit_s):
                memory.add(task, heard)
                progress.update()
        finally:
            memory.flush()
    return memory.finish(rows)


def listening_digest(models: ModelMeasures, channels: ChannelPolicy) -> str:
    """What determines what is heard of a recording: the models, and which of its channels they hear."""
    return digest_value([models_digest(models), channels])


def do_listen(task: ListenTask) -> list[Listened]:
    """What the models say of each segment, in their order; nothing of one that does not decode."""
    recording = task.recording
    raw = None if recording.raw_format is None else RawFormat.parse(recording.raw_format)
    results = [Listened()] * len(recording.segments)
    try:
        with (
            opened_container(recording.file) as stream,
            opened_source(container_of(recording, stream), recording.place, recording.digest) as file,
            open_source(file, recording.uri, raw, task.channels) as source,
        ):
            for index, found in source.cut(recording.segments):
                if not isinstance(found, AudioProblem):
                    results[index] = listener(task.models).listen(_at_16k(found), task.language)
    except AudioFaultError:
        # It decoded in audio_22k, so it was changed or taken away since: the next run of that step will say so.
        return [Listened()] * len(recording.segments)
    return results


def _at_16k(decoded: Decoded) -> Waveform:
    samples_N, _ = without_nonfinite(decoded.samples_N)
    if decoded.rate_hz == LISTENING_RATE_HZ:
        return samples_N
    resampled_N: Waveform = soxr.resample(samples_N, decoded.rate_hz, LISTENING_RATE_HZ, quality="HQ")
    return resampled_N


def _tasks(table: pl.DataFrame, models: ModelMeasures, channels: ChannelPolicy) -> Iterator[ListenTask]:
    for uri, offset, size, digest, raw_format, suffix, language, *bounds in table.iter_rows():
        segments = tuple(Segment(*one) for one in zip(*bounds, strict=True))
        recording = Recording(uri, offset, size, digest, raw_format, segments)
        yield ListenTask(recording, suffix, language, models, channels)


def _limit_s(_: ListenTask) -> float:
    return _LIMIT_S


class _Memory:
    """What has been heard of one corpus, in small parts while it goes on and in one file afterwards."""

    def __init__(self, lake: Lake, corpus: str, models: str) -> None:
        self._lake = lake
        self._models = models
        self._folder = f"work/listening/{corpus}"
        self._whole = f"{self._folder}.parquet"
        self._pending: list[dict[str, Any]] = []
        paths = [path for path in [*lake.list_files(self._folder), self._whole] if path.endswith(".parquet")]
        frames = [self._read(path) for path in paths if lake.exists(path)]
        # An earlier version's may lack a column; nothing of it is used, since its models are others.
        found = pl.concat([pl.DataFrame(schema=_SCHEMA), *frames], how="diagonal")
        known = found.select(list(_SCHEMA)).filter(pl.col("models") == models)
        self.known = known.unique(_WANTED, keep="first", maintain_order=True)

    def add(self, task: ListenTask, heard: list[Listened] | WorkerDied) -> None:
        recording = task.recording
        # A recording that ended its worker, each time, is left without these measures: they reject nothing then.
        results = [Listened()] * len(recording.segments) if isinstance(heard, WorkerDied) else heard
        for segment, result in zip(recording.segments, results, strict=True):
            self._pending.append(
                {
                    "models": self._models,
                    "source_digest": recording.digest,
                    "suffix": task.suffix,
                    "raw_format": recording.raw_format,
                    "start_s": segment.start_s,
                    "end_s": segment.end_s,
                    "channel": segment.channel,
                    "language": task.language,
                    **{name: getattr(result, name) for name in LISTENED},
                }
            )
        if len(self._pending) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        if self._pending:
            part = pl.DataFrame(self._pending, schema=_SCHEMA, orient="row")
            self._write(f"{self._folder}/{uuid.uuid4().hex}.parquet", part)
            self.known = pl.concat([self.known, part])
            self._pending = []

    def finish(self, rows: pl.DataFrame) -> pl.DataFrame:
        wanted = rows.select(_WANTED).unique(maintain_order=True)
        results = wanted.join(self.known, on=_WANTED, how="left", nulls_equal=True, maintain_order="left")
        self._write(self._whole, results.select(list(_SCHEMA)))
        for path in self._lake.list_files(self._folder):
            self._lake.filesystem.rm(self._lake.full_path(path))
        return rows.join(
            results.drop("models"), on=_WANTED, how="left", nulls_equal=True, maintain_order="left"
        )

    def _read(self, path: str) -> pl.DataFrame:
        with self._lake.open(path) as stream:
            return pl.read_parquet(stream)

    def _write(self, path: str, frame: pl.DataFrame) -> None:
        with self._lake.atomic_write(path) as stream:
            frame.write_parquet(stream, compression="zstd")
