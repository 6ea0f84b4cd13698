"""The recordings that a person should hear: their rows, and a few seconds of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from assets.audio.segments import Segment
from assets.audio.work import Recording
from assets.report.excerpts import MOST_SOURCE_BYTES, Excerpt, NoExcerpt, source_excerpts, stored_excerpt
from assets.report.margins import Ranked
from validation.batches import frame_of
from validation.lake import Lake
from validation.scales import SCALES

_MEASURES = ", ".join(f"q.{scale.column}" for scale in SCALES)


@dataclass(frozen=True, slots=True)
class Heard:
    """One recording of a list, with its row, its measures and its sound.

    Attributes:
        row: ``utterance_id``, ``speaker``, ``language``, ``split``, ``text``, ``source``, and of the ledger
            ``stage``, ``outcome``, ``reason``, ``value``, ``limit``, ``detail``.
        measures: By column; ``None`` where it was not measured.
    """

    rank: int
    ranked: Ranked
    row: Mapping[str, Any]
    measures: Mapping[str, float | None]
    sound: Excerpt | NoExcerpt


def hear(connection: duckdb.DuckDBPyConnection, lake: Lake, ranked: Sequence[Ranked]) -> list[Heard]:
    """The recordings in their order, each with its beginning, where that is to be had."""
    rows = _rows(connection, [one.utterance_id for one in ranked])
    sources = {
        name: _recording(row)
        for name, row in rows.items()
        if not _is_stored(lake, row) and _unopened(row) is None
    }
    excerpts = source_excerpts(list(dict.fromkeys(sources.values()))) if sources else {}
    heard = []
    for rank, one in enumerate(ranked, start=1):
        row = rows[one.utterance_id]
        sound: Excerpt | NoExcerpt
        if one.utterance_id in sources:
            sound = excerpts[sources[one.utterance_id]]
        elif (why := _unopened(row)) is not None and not _is_stored(lake, row):
            sound = NoExcerpt(why)
        else:
            sound = stored_excerpt(lake, row["audio_path"], row["frames"])
        measures = {scale.column: row[scale.column] for scale in SCALES}
        heard.append(Heard(rank, one, row, measures, sound))
    return heard


def _rows(connection: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    if not ids:
        return {}
    frame = frame_of(
        connection,
        f"""SELECT u.utterance_id, u.speaker, u.language, u.split, u.text, u.source, u.audio_uri, u.audio_offset,
                u.audio_bytes, u.source_digest, u.raw_format, u.segment_start_s, u.segment_end_s,
                e.stage, e.outcome, e.reason, e.value, e."limit", e.detail, s.audio_path, s.frames, {_MEASURES}
            FROM utterances u
                JOIN ended e ON e.utterance_id = u.utterance_id AND e.stage <> 'raw_utterances'
                LEFT JOIN stored s ON s.utterance_id = u.utterance_id
                LEFT JOIN quality q ON q.utterance_id = u.utterance_id
            WHERE u.utterance_id IN (SELECT unnest(?))""",  # noqa: S608 - our own names
        [list(ids)],
    )
    return {row["utterance_id"]: row for row in frame.iter_rows(named=True)}


def _is_stored(lake: Lake, row: Mapping[str, Any]) -> bool:
    return row["audio_path"] is not None and lake.exists(row["audio_path"])


def _unopened(row: Mapping[str, Any]) -> str | None:
    """Why the source is not opened, if it is not."""
    if row["source_digest"] is None:
        return "its source was never read"
    size = row["audio_bytes"]
    if size is not None and size > MOST_SOURCE_BYTES:
        return (
            f"it was not stored, and its source has {size / 1e6:,.0f} MB: no more than "
            f"{MOST_SOURCE_BYTES / 1e6:,.0f} MB are read for a player"
        )
    return None


def _recording(row: Mapping[str, Any]) -> Recording:
    segment = Segment(row["segment_start_s"] or 0.0, row["segment_end_s"])
    return Recording(
        row["audio_uri"],
        row["audio_offset"],
        row["audio_bytes"],
        row["source_digest"],
        row["raw_format"],
        (segment,),
    )
