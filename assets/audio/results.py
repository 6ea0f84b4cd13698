"""What the audio pass found, kept in the lake beside the tables: the resumable memory of ``audio_22k``.

One row per (content of the source, extension, segment, channel) with the stored audio and its measures, or with what is
wrong, in ``work/audio_22k/<corpus>.parquet``. A pass that was killed, or that meets a corpus of which a few files
changed, does only what is not in there. ``audio_quality`` reads its measures from it, so that no file is decoded twice.
"""

# ruff: noqa: S608 - statements are made of names of columns and quoted paths
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import islice
from typing import Any

import duckdb
import polars as pl

from assets.audio.loudness import Gain
from assets.audio.parts import Parts
from assets.audio.problem import AudioProblem
from assets.audio.segments import Segment
from assets.audio.settings import AudioSettings
from assets.audio.work import Recording, SegmentResult
from assets.audio.write import Stored
from validation.batches import batches_of, quoted
from validation.errors import UserError
from validation.lake import Lake
from validation.measures import COUNTS, Measures
from validation.reasons import PASSING
from validation.stored_audio import AUDIO_FOLDER, VIEW_FOLDER, WAV_HEADER_BYTES

# Part of the step's inputs and of each row: raise it when decoding, measuring, resampling or writing changes.
AUDIO_RECIPE = 5

# What determines a result, besides the corpus' settings: content, extension (it may contradict the content), what
# samples without a header were declared to be, segment, in seconds, and channel.
KEY = ("source_digest", "suffix", "raw_format", "start_s", "end_s", "channel")

MEASURES = tuple(field.name for field in fields(Measures))
_STORED = tuple(field.name for field in fields(Stored))
_SOURCE = ("source_rate_hz", "source_channels", "source_format")
_GAIN = tuple(field.name for field in fields(Gain))
_PROBLEM = tuple(field.name for field in fields(AudioProblem))
_SCHEMA: dict[str, Any] = {
    "recipe": pl.Int32,
    "settings": pl.String,
    "source_digest": pl.String,
    "suffix": pl.String,
    "raw_format": pl.String,
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
    **{name: pl.Int64 if name in COUNTS else pl.Float64 for name in MEASURES},
    "reason": pl.String,
    "value": pl.Float64,
    "limit": pl.Float64,
    "detail": pl.String,
}
_BATCH = 512
_LISTED = 65_536
_SUFFIX = r"[^/](\.[A-Za-z0-9_+-]+)"  # the same to Python, polars and DuckDB


def with_keys(raw: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``raw_utterances`` that have audio, with the columns :data:`KEY` of their results."""
    with_audio = raw.filter(pl.col("audio_uri").is_not_null())
    suffix = pl.col("audio_uri").str.extract(_SUFFIX + "$").fill_null("").str.to_lowercase()
    start_s = pl.col("segment_start_s").fill_null(0.0)
    return with_audio.with_columns(suffix=suffix, start_s=start_s, end_s=pl.col("segment_end_s"))


def keyed_sql(raw: str) -> str:
    """The same as DuckDB's relation, with ``number``, the row's place, from the relation of the whole table."""
    suffix = f"lower(regexp_extract(audio_uri, {quoted(_SUFFIX + '$')}, 1))"
    numbered = raw.removesuffix(")") + ", file_row_number = true)"
    return (
        f"(SELECT *, file_row_number AS number, {suffix} AS suffix, coalesce(segment_start_s, 0.0) AS start_s, "
        f"segment_end_s AS end_s FROM {numbered} WHERE audio_uri IS NOT NULL)"
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
    return " AND ".join(f"{left}.{name} IS NOT DISTINCT FROM {right}.{name}" for name in columns)


def list_stored(connection: duckdb.DuckDBPyConnection, lake: Lake, corpus: str) -> None:
    """The table ``stored(path, bytes)`` of the audio that lies in the lake; never all names are in memory."""
    connection.execute("CREATE OR REPLACE TEMP TABLE stored (path VARCHAR, bytes BIGINT)").fetchall()
    for folder in (AUDIO_FOLDER, VIEW_FOLDER):
        files = lake.walk(f"{folder}/{corpus}")
        while some := list(islice(files, _LISTED)):
            connection.register(
                "found", pl.DataFrame(some, schema=["path", "bytes"], orient="row").to_arrow()
            )
            connection.execute("INSERT INTO stored SELECT path, bytes FROM found").fetchall()
            connection.unregister("found")


def is_whole_sql(path: str, frames: str) -> str:
    """SQL's condition that the file at ``path`` is there with all of its frames, or none is named."""
    lies = f"SELECT 1 FROM stored WHERE stored.path = {path} AND bytes = {WAV_HEADER_BYTES} + 2 * {frames}"
    return f"({path} IS NULL OR EXISTS ({lies}))"


class AudioResults:
    """The results of one corpus, read from and written to the lake.

    Args:
        connection: From :func:`validation.batches.database`; it keeps tables of this pass.
        batch: Results per part: how many are done again after a kill, at least.
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
        self._settings = settings.digest
        self._parts = Parts(lake, _folder(corpus), _SCHEMA, batch)
        list_stored(connection, lake, corpus)
        passing = ", ".join(quoted(reason) for reason in sorted(PASSING))
        is_stored = f"{is_whole_sql('path', 'frames')} AND {is_whole_sql('view_path', 'view_frames')}"
        # What earlier passes found and is still true: its audio lies in the lake, whole.
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE known AS SELECT {', '.join(KEY)}, filename, file_row_number "
            f"FROM {self._parts.relation(self._parts.earlier)} "
            f"WHERE recipe = {AUDIO_RECIPE} AND settings = {quoted(self._settings)} "
            f"AND CASE WHEN reason IS NULL THEN {is_stored} ELSE reason NOT IN ({passing}) END"
        ).fetchall()
        connection.execute("DROP TABLE stored").fetchall()

    def add(self, recording: Recording, segment: Segment, result: SegmentResult) -> None:
        """Remember a result; it is on the disk after at most a batch."""
        row: dict[str, Any] = dict.fromkeys(_SCHEMA)
        row.update(
            recipe=AUDIO_RECIPE,
            settings=self._settings,
            source_digest=recording.digest,
            suffix=suffix_of(recording.uri),
            raw_format=recording.raw_format,
            start_s=segment.start_s,
            end_s=segment.end_s,
            channel=segment.channel,
        )
        if isinstance(result, AudioProblem):
            row.update(_values(result, _PROBLEM))
        else:
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
        self._parts.add(row)

    def flush(self) -> None:
        """Write what is not on the disk yet."""
        self._parts.flush()

    def finish(self, rows: str) -> Iterator[pl.DataFrame]:
        """Write the pass's one file, with the results of just these rows, in their order, and remove the parts.

        Args:
            rows: DuckDB's relation of rows with :data:`KEY` and ``number``, their order; each has its result.

        Returns:
            The rows with their results' columns, a batch at a time.
        """
        self.flush()
        keys, parts = ", ".join(KEY), self._parts
        places = (
            f"SELECT {keys}, filename, file_row_number FROM known "
            f"UNION ALL SELECT {keys}, filename, file_row_number FROM {parts.relation(parts.new)}"
        )
        wanted = f"SELECT {keys}, min(number) AS number FROM {rows} GROUP BY ALL"
        # Two parts may hold the same result, one of them from a pass that was killed.
        self._connection.execute(
            "CREATE OR REPLACE TEMP TABLE chosen AS SELECT w.number, "
            "min({'filename': p.filename, 'row': p.file_row_number}) AS place "
            f"FROM ({wanted}) w JOIN ({places}) p ON {same_key('w', 'p')} GROUP BY w.number"
        ).fetchall()
        columns = ", ".join(f'r."{name}"' for name in _SCHEMA)
        found = batches_of(
            self._connection,
            f"SELECT {columns} FROM {parts.relation([*parts.earlier, *parts.new])} r JOIN chosen c "
            "ON r.filename = c.place.filename AND r.file_row_number = c.place.row ORDER BY c.number",
        )
        self._parts.replace(found)
        kept = ", ".join(f'r."{name}"' for name in _SCHEMA if name not in KEY)
        whole = self._parts.relation([self._parts.whole])
        return batches_of(
            self._connection,
            f"SELECT w.*, {kept} FROM {rows} w LEFT JOIN {whole} r ON {same_key('w', 'r')} ORDER BY w.number",
        )


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
    with lake.open(path) as stream:
        return pl.read_parquet(stream)


def _folder(corpus: str) -> str:
    return f"work/audio_22k/{corpus}"


def _values(holder: object, names: Iterable[str]) -> dict[str, Any]:
    # dataclasses.asdict copies deeply, which took longer than writing the table.
    return {name: getattr(holder, name) for name in names}
