"""Models listening to a corpus: what those that its entry turns on say of each recording, remembered in the lake.

Shapes: N samples.
"""

# ruff: noqa: S608 - statements are made of names of columns and quoted paths
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import soxr
from tqdm import tqdm

from assets.audio.audio_pass import RECORDING
from assets.audio.despite import Forgiven, cut_recording
from assets.audio.parts import Parts
from assets.audio.pool import WorkerDied, map_surviving
from assets.audio.problem import AudioFaultError, AudioProblem
from assets.audio.raw_format import RawFormat
from assets.audio.results import KEY, same_key
from assets.audio.segments import Decoded, Segment
from assets.audio.settings import ChannelPolicy
from assets.audio.source_file import opened_container, opened_source
from assets.audio.work import Recording, container_of
from validation.batches import batches_of, quoted
from validation.digests import digest_value
from validation.lake import Lake
from validation.listening.config import LISTENING_RATE_HZ, ModelMeasures
from validation.listening.listener import Listened, check_packages, listener, models_digest
from validation.measures import Waveform, without_nonfinite

if TYPE_CHECKING:
    from assets.corpora.config import CorpusEntry

LISTENED = tuple(field.name for field in fields(Listened))
_BATCH = 64  # recordings done again after a kill, at most
_LIMIT_S = 3_600.0  # for one recording: the slowest of the models needs less than a second for one of sound
HEARD_KEY = (*KEY, "language")
_SEGMENT = ("start_s", "end_s", "channel")
_RECORDING = (*RECORDING, "suffix", "language")
_SCHEMA: dict[str, Any] = {
    "models": pl.String,
    "source_digest": pl.String,
    "suffix": pl.String,
    "raw_format": pl.String,
    "despite": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "channel": pl.Int32,
    "language": pl.String,
    **{name: pl.String if name == "heard_text" else pl.Float64 for name in LISTENED},
}


@dataclass(frozen=True, slots=True)
class Heard:
    """What models heard of a corpus.

    Attributes:
        relation: DuckDB's, by :data:`HEARD_KEY`, with the columns :data:`LISTENED`.
        unread: Segments of recordings that cannot be read now: they are in no memory, and to be heard another time.
    """

    relation: str
    unread: int


@dataclass(frozen=True, slots=True)
class ListenTask:
    """Segments of one recording, all in one language, and the models for them."""

    recording: Recording
    suffix: str
    language: str
    models: ModelMeasures
    channels: ChannelPolicy


def listen(
    connection: duckdb.DuckDBPyConnection, entry: CorpusEntry, rows: str, lake: Lake, workers: int
) -> Heard | None:
    """What was heard of the rows.

    Each recording is decoded again, from its source, and brought to 16 kHz: what is stored has been resampled once
    already. Recordings that these very models have heard are not heard again, also after a kill.

    Args:
        rows: Relation with the columns of :func:`assets.audio.results.keyed_sql`, of rows whose audio is stored.

    Returns:
        ``None`` where no model is on.

    Raises:
        ConfigurationError: if a model's package is missing.
    """
    models, channels = entry.models, entry.audio.channels
    if not models.listens:
        return None
    check_packages(models)
    memory = _Memory(connection, lake, entry.name, listening_digest(models, channels))
    files, missing = memory.missing(rows)
    tasks = _tasks(missing, models, channels)
    unread = 0
    with tqdm(total=files, desc=f"{entry.name}: models", unit="file", disable=None) as progress:
        try:
            for task, heard in map_surviving(do_listen, tasks, min(workers, max(files, 1)), _limit_s):
                if heard is None:
                    unread += len(task.recording.segments)
                else:
                    memory.add(task, heard)
                progress.update()
        finally:
            memory.flush()
    return Heard(memory.finish(rows), unread)


def listening_digest(models: ModelMeasures, channels: ChannelPolicy) -> str:
    """What determines what is heard of a recording: the models, and which of its channels they hear."""
    return digest_value([models_digest(models), channels])


def do_listen(task: ListenTask) -> list[Listened] | None:
    """What the models say of each segment, in their order; ``None`` where the recording cannot be read now."""
    recording = task.recording
    raw = None if recording.raw_format is None else RawFormat.parse(recording.raw_format)
    results = [Listened()] * len(recording.segments)
    try:
        with (
            opened_container(recording.file) as stream,
            opened_source(container_of(recording, stream), recording.place, recording.digest) as file,
        ):
            for index, found in cut_recording(
                file, recording.uri, raw, task.channels, recording.segments, recording.despite
            ):
                if not isinstance(found, AudioProblem):
                    decoded = found.decoded if isinstance(found, Forgiven) else found
                    results[index] = listener(task.models).listen(_at_16k(decoded), task.language)
    except AudioFaultError:
        # It was read in audio_22k, so it was changed or taken away since, or its store does not answer.
        return None
    return results


def _at_16k(decoded: Decoded) -> Waveform:
    samples_N, _ = without_nonfinite(decoded.samples_N)
    if decoded.rate_hz == LISTENING_RATE_HZ:
        return samples_N
    resampled_N: Waveform = soxr.resample(samples_N, decoded.rate_hz, LISTENING_RATE_HZ, quality="HQ")
    return resampled_N


def _tasks(
    batches: Iterable[pl.DataFrame], models: ModelMeasures, channels: ChannelPolicy
) -> Iterator[ListenTask]:
    """A task for each recording; its segments follow one another."""
    lines = (line for batch in batches for line in batch.select(*_RECORDING, *_SEGMENT).iter_rows())
    for of, together in groupby(lines, key=itemgetter(slice(0, len(_RECORDING)))):
        uri, offset, size, digest, raw_format, despite, suffix, language = of
        segments = tuple(Segment(*line[len(_RECORDING) :]) for line in together)
        recording = Recording(uri, offset, size, digest, raw_format, segments, despite)
        yield ListenTask(recording, suffix, language, models, channels)


def _limit_s(_: ListenTask) -> float:
    return _LIMIT_S


class _Memory:
    """What has been heard of one corpus, in small parts while it goes on and in one file afterwards."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, lake: Lake, corpus: str, models: str) -> None:
        self._connection = connection
        self._lake = lake
        self._models = models
        self._parts = Parts(lake, f"work/listening/{corpus}", _SCHEMA, _BATCH)
        self._known = (
            f"(SELECT * FROM {self._parts.relation(self._parts.earlier)} WHERE models = {quoted(models)})"
        )

    def missing(self, rows: str) -> tuple[int, Iterator[pl.DataFrame]]:
        """Recordings of which no part says all that is wanted, their number and segments, each one's together."""
        keys = ", ".join(HEARD_KEY)
        place = "{'audio_uri': audio_uri, 'audio_offset': audio_offset, 'audio_bytes': audio_bytes}"
        wanted = f"SELECT {keys}, arg_min({place}, number) AS place, min(number) AS number FROM {rows} GROUP BY {keys}"
        self._connection.execute(
            f"CREATE OR REPLACE TEMP TABLE unheard AS SELECT w.* EXCLUDE (place), unnest(w.place) FROM ({wanted}) w "
            f"ANTI JOIN {self._known} k ON {same_key('w', 'k', HEARD_KEY)}"
        ).fetchall()
        recording = ", ".join(_RECORDING)
        count = f"SELECT count(*) FROM (SELECT DISTINCT {recording} FROM unheard)"
        ((files,),) = self._connection.execute(count).fetchall()
        return int(files), batches_of(
            self._connection,
            f"SELECT u.* FROM unheard u JOIN (SELECT {recording}, min(number) AS first FROM unheard GROUP BY ALL) r "
            f"ON {same_key('u', 'r', _RECORDING)} ORDER BY r.first, u.number",
        )

    def add(self, task: ListenTask, heard: list[Listened] | WorkerDied) -> None:
        recording = task.recording
        # A recording that ended its worker, each time, is left without these measures: they reject nothing then.
        results = [Listened()] * len(recording.segments) if isinstance(heard, WorkerDied) else heard
        for segment, result in zip(recording.segments, results, strict=True):
            self._parts.add(
                {
                    "models": self._models,
                    "source_digest": recording.digest,
                    "suffix": task.suffix,
                    "raw_format": recording.raw_format,
                    "despite": recording.despite,
                    "start_s": segment.start_s,
                    "end_s": segment.end_s,
                    "channel": segment.channel,
                    "language": task.language,
                    **{name: getattr(result, name) for name in LISTENED},
                }
            )

    def flush(self) -> None:
        self._parts.flush()

    def finish(self, rows: str) -> str:
        """Write the one file, with what was heard of just these rows; its relation."""
        keys = ", ".join(HEARD_KEY)
        columns = ", ".join(f'h."{name}"' for name in _SCHEMA)
        heard = self._parts.relation([*self._parts.earlier, *self._parts.new])
        wanted = f"SELECT {keys}, min(number) AS number FROM {rows} GROUP BY {keys}"
        found = batches_of(
            self._connection,
            f"SELECT {columns} FROM ({wanted}) w JOIN {heard} h ON {same_key('w', 'h', HEARD_KEY)} "
            f"WHERE h.models = {quoted(self._models)} "
            # Two parts may hold the same, one of them from a pass that was killed.
            "QUALIFY row_number() OVER (PARTITION BY w.number ORDER BY h.filename, h.file_row_number) = 1 "
            "ORDER BY w.number",
        )
        self._parts.replace(found)
        return self._parts.relation([self._parts.whole])
