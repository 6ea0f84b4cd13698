"""What the audio pass found, kept in the lake beside the tables: the resumable memory of ``audio_22k``.

One row per (content of the source, extension, segment, channel) with the stored audio and its measures, or with what is
wrong, in ``work/audio_22k/<corpus>.parquet``. A pass that was killed, or that meets a corpus of which a few files
changed, does only what is not in there. ``audio_quality`` reads its measures from it, so that no file is decoded twice.
"""

# ruff: noqa: S608 - statements are made of names of columns and quoted paths
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import islice
from typing import Any

import duckdb
import polars as pl
import pyarrow.parquet as pq

from assets.audio import memory
from assets.audio.loudness import Gain
from assets.audio.parts import Parts
from assets.audio.problem import AudioProblem
from assets.audio.segments import Segment
from assets.audio.settings import AudioSettings
from assets.audio.work import Recording, SegmentResult
from assets.audio.write import Stored
from validation.batches import batches_of_file, quoted, read_batches
from validation.errors import UserError
from validation.lake import Lake
from validation.measures import COUNTS, Measures
from validation.ordering import Rows
from validation.reasons import PASSING
from validation.stored_audio import AUDIO_FOLDER, VIEW_FOLDER, WAV_HEADER_BYTES

# Part of the step's inputs and of each row: raise it when decoding, measuring, resampling or writing changes.
AUDIO_RECIPE = 7

# Of the pass's file, which has a row for each row of the corpus: raise it when that changes. Nothing is decoded for it.
RESULTS_RECIPE = 1

# What determines a result, besides the corpus' settings: content, extension (it may contradict the content), what
# samples without a header were declared to be, the fault that a person accepted, segment, in seconds, and channel.
KEY = ("source_digest", "suffix", "raw_format", "despite", "start_s", "end_s", "channel")

MEASURES = tuple(field.name for field in fields(Measures))
_STORED = tuple(field.name for field in fields(Stored))
_SOURCE = ("source_rate_hz", "source_channels", "source_format", "fault", "promised_s")
_GAIN = tuple(field.name for field in fields(Gain))
_PROBLEM = tuple(field.name for field in fields(AudioProblem))
_SCHEMA: dict[str, Any] = {
    "recipe": pl.Int32,
    "settings": pl.String,
    "source_digest": pl.String,
    "suffix": pl.String,
    "raw_format": pl.String,
    "despite": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "channel": pl.Int32,
    "path": pl.String,
    "digest": pl.String,
    "frames": pl.Int64,
    "view_path": pl.String,
    "view_digest": pl.String,
    "view_frames": pl.Int64,
    "gain_db": pl.Float64,
    "gain_limit": pl.String,
    "loudness_by": pl.String,
    "source_rate_hz": pl.Int32,
    "source_channels": pl.Int32,
    "channels_used": pl.List(pl.Int32),
    "source_format": pl.String,
    "fault": pl.String,
    "promised_s": pl.Float64,
    **{name: pl.Int64 if name in COUNTS else pl.Float64 for name in MEASURES},
    "reason": pl.String,
    "value": pl.Float64,
    "limit": pl.Float64,
    "detail": pl.String,
}
_BATCH = 512
_LISTED = 4_096
_OF_RECORDING = ("utterance_id", "audio_uri", "source_digest")
_SUFFIX = r"[^/](\.[A-Za-z0-9_+-]+)"  # the same to Python, polars and DuckDB


def keyed_sql(raw: str, despite: str = "NULL::VARCHAR") -> str:
    """Rows of ``raw_utterances`` (DuckDB's relation of the file) that have audio, with the columns :data:`KEY` of their
    results, and ``number``, the row's place.

    Args:
        despite: Expression for the fault with which a person accepted the row.
    """
    suffix = f"lower(regexp_extract(audio_uri, {quoted(_SUFFIX + '$')}, 1))"
    numbered = raw.removesuffix(")") + ", file_row_number = true)"
    return (
        f"(SELECT *, file_row_number AS number, {suffix} AS suffix, coalesce(segment_start_s, 0.0) AS start_s, "
        f"segment_end_s AS end_s, {despite} AS despite FROM {numbered} AS raw WHERE audio_uri IS NOT NULL)"
    )


def suffix_of(uri: str) -> str:
    """The extension of a recording's name, in small letters."""
    found = re.search(_SUFFIX + r"\Z", uri)
    return found[1].lower() if found else ""


def results_path(corpus: str) -> str:
    """The finished pass's file, relative to the lake's root."""
    return f"{_folder(corpus)}.parquet"


def same_key(left: str, right: str, columns: Iterable[str] = KEY) -> str:
    """SQL's condition that two rows have the same key."""
    return memory.same_key(left, right, columns)


def list_stored(connection: duckdb.DuckDBPyConnection, lake: Lake, corpus: str) -> None:
    """The table ``stored`` of the audio that lies in the lake, for :func:`is_whole_sql`.

    Never all names are in memory: a digest stands for each.
    """
    memory.run(connection, "CREATE OR REPLACE TEMP TABLE stored (name UHUGEINT, bytes BIGINT)")
    for folder in (AUDIO_FOLDER, VIEW_FOLDER):
        files = lake.walk(f"{folder}/{corpus}")
        while some := list(islice(files, _LISTED)):
            connection.register(
                "found", pl.DataFrame(some, schema=["path", "bytes"], orient="row").to_arrow()
            )
            memory.run(connection, "INSERT INTO stored SELECT md5_number(path), bytes FROM found")
            connection.unregister("found")


def is_whole_sql(path: str, frames: str) -> str:
    """SQL's condition that the file at ``path`` is there with all of its frames, or none is named."""
    lies = f"SELECT 1 FROM stored WHERE stored.name = md5_number({path}) AND bytes = {WAV_HEADER_BYTES} + 2 * {frames}"
    return f"({path} IS NULL OR EXISTS ({lies}))"


class ResultParts(Parts):
    """Results on their way to the lake, before or during the pass that asks for them."""

    def __init__(self, lake: Lake, corpus: str, settings: AudioSettings, batch: int = _BATCH) -> None:
        super().__init__(lake, _folder(corpus), _SCHEMA, batch)
        self._settings = settings.digest

    def add_result(self, recording: Recording, segment: Segment, result: SegmentResult) -> None:
        """Take a result; it is on the disk after at most a batch."""
        self.add(_row(self._settings, recording, segment, result))


class AudioResults:
    """The results of one corpus, read from and written to the lake.

    Args:
        connection: From :func:`validation.batches.database`; it keeps tables of this pass.
        batch: Results per part: how many are done again after a kill, at least.

    Attributes:
        memory: What is known already, and what is missing.
    """

    def __init__(
        self,
        lake: Lake,
        corpus: str,
        settings: AudioSettings,
        connection: duckdb.DuckDBPyConnection,
        batch: int = _BATCH,
    ) -> None:
        self._connection = connection
        self._parts = ResultParts(lake, corpus, settings, batch)
        list_stored(connection, lake, corpus)
        passing = ", ".join(quoted(reason) for reason in sorted(PASSING))
        is_stored = f"{is_whole_sql('path', 'frames')} AND {is_whole_sql('view_path', 'view_frames')}"
        # What earlier passes found and is still true: its audio lies in the lake, whole.
        usable = (
            f"recipe = {AUDIO_RECIPE} AND settings = {quoted(settings.digest)} "
            f"AND CASE WHEN reason IS NULL THEN {is_stored} ELSE reason NOT IN ({passing}) END"
        )
        self.memory = memory.Memory(connection, self._parts, KEY, usable)
        memory.run(connection, "DROP TABLE stored")

    def add(self, recording: Recording, segment: Segment, result: SegmentResult) -> None:
        """Remember a result; it is on the disk after at most a batch."""
        self._parts.add_result(recording, segment, result)

    def flush(self) -> None:
        """Write what is not on the disk yet."""
        self._parts.flush()

    def finish(self, rows: str) -> None:
        """Write the pass's one file, with the results of just these rows, in their order, and remove the parts.

        Args:
            rows: DuckDB's relation of rows with :data:`KEY` and ``number``, their order; each has its result.
        """
        self.memory.settle(rows, each=True)


def with_results(lake: Lake, corpus: str, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """The corpus' rows that have audio, in their order, with what the finished pass has found of each, in batches.

    Nothing is sorted or looked up, since the pass's file has a row for each of them.

    Args:
        columns: Of ``raw_utterances``; ``None``: all of them.

    Raises:
        UserError: if the pass was over other rows than these.
    """
    wanted = None if columns is None else list(dict.fromkeys([*columns, *_OF_RECORDING]))
    kept = [name for name in _SCHEMA if name == "despite" or name not in KEY]
    with lake.open(results_path(corpus)) as stream, pq.ParquetFile(stream) as file:
        results = Rows(batches_of_file(file))
        for batch in read_batches(lake, "raw_utterances", corpus, wanted):
            rows = batch.filter(pl.col("audio_uri").is_not_null())
            if rows.is_empty():
                continue
            found = results.take(rows.height)
            if found is None or not found["source_digest"].equals(rows["source_digest"], null_equal=True):
                raise _disorder(lake, corpus, rows["utterance_id"][0])
            yield rows.hstack(found.select(kept))
        if results.take(1) is not None:
            raise _disorder(lake, corpus, "the last")


def _disorder(lake: Lake, corpus: str, utterance_id: str) -> UserError:
    return UserError(
        f"corpus {corpus!r}: from {utterance_id!r} on, {lake.uri(results_path(corpus))} is not made from "
        "raw_utterances as it is: run audio_22k again"
    )


def _row(settings: str, recording: Recording, segment: Segment, result: SegmentResult) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(_SCHEMA)
    row.update(
        recipe=AUDIO_RECIPE,
        settings=settings,
        source_digest=recording.digest,
        suffix=suffix_of(recording.uri),
        raw_format=recording.raw_format,
        despite=recording.despite,
        start_s=segment.start_s,
        end_s=segment.end_s,
        channel=segment.channel,
    )
    if isinstance(result, AudioProblem):
        row.update(_values(result, _PROBLEM))
        return row
    row.update(
        {
            **_values(result.stored, _STORED),
            **_values(result, _SOURCE),
            **_values(result.gain, _GAIN),
            **_values(result.measures, MEASURES),
            "channels_used": list(result.channels_used),
        }
    )
    if result.view is not None:
        row.update({f"view_{name}": getattr(result.view, name) for name in _STORED})
    return row


def _folder(corpus: str) -> str:
    return f"work/audio_22k/{corpus}"


def _values(holder: object, names: Iterable[str]) -> dict[str, Any]:
    # dataclasses.asdict copies deeply, which took longer than writing the table.
    return {name: getattr(holder, name) for name in names}
