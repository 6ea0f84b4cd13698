"""Parts of long recordings: where they begin and end, and the rows of a JSON that says so.

WenetSpeech and GigaSpeech have one JSON with ``audios``, each with its ``path`` and its ``segments``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from posixpath import dirname, join, splitext
from typing import Any

from assets.corpora.json_stream import items_of
from assets.corpora.recordings import Recordings, audio_at
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import RowError, string_of
from assets.corpora.utterance import Row, Utterance


def seconds(value: object, name: str) -> float:
    """A time in seconds, as a list or JSON states it.

    Raises:
        RowError: ``malformed_row``, if it is no number.
    """
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError("another kind of value")
        found = float(value)
    except (ValueError, OverflowError) as error:
        raise RowError("malformed_row", f"{name} must be a time in seconds, got {value!r:.80}") from error
    if not math.isfinite(found):
        raise RowError("malformed_row", f"{name} must be a time in seconds, got {value!r:.80}")
    return found


def checked_part(start_s: float, end_s: float | None) -> tuple[float, float | None]:
    """Start and end, if they can be a part of a recording.

    Raises:
        RowError: ``bad_segment``.
    """
    if start_s < 0:
        raise RowError("bad_segment", f"starts at {start_s:.3f} s, before the recording", start_s, 0.0)
    if end_s is not None and end_s <= start_s:
        raise RowError("bad_segment", f"ends at {end_s:.3f} s and starts at {start_s:.3f} s", end_s, start_s)
    return start_s, end_s


def rows_of_audios(
    root: CorpusRoot,
    name: str,
    recordings: Recordings,
    make: Callable[[dict[str, Any], dict[str, Any], str, str], Utterance],
    strip_prefix: str = "",
) -> Iterator[Row]:
    """One row per segment of a JSON's ``audios``, in its order; only one recording of it is held at a time.

    Args:
        make: Makes a row of a recording's values, a segment's, its place, and the audio's path; raises
            :class:`RowError`.
    """
    folder = dirname(name)
    for place, value in items_of(root, name, "audios"):
        if isinstance(value, RowError):
            yield value.at(place)
            continue
        if not isinstance(value, dict):
            yield RowError("malformed_row", f"a recording must be an object, got {value!r:.80}").at(place)
            continue
        try:
            audio = _audio(root, join(folder, string_of(value, "path").removeprefix(strip_prefix)))
            recordings.name(audio)
            if not isinstance(value.get("segments"), list):
                raise RowError("malformed_row", f"segments must be a list, got {value.get('segments')!r:.80}")
        except RowError as error:
            yield error.at(place, str(value.get("aid") or "") or None)
            continue
        for index, segment in enumerate(value["segments"]):
            source = f"{place}.segments.{index}"
            try:
                if not isinstance(segment, dict):
                    raise RowError("malformed_row", f"a segment must be an object, got {segment!r:.80}")
                yield make(value, segment, source, audio)
            except RowError as error:
                sid = segment.get("sid") if isinstance(segment, dict) else None
                yield error.at(source, str(sid or "") or None)


def part_of(segment: dict[str, Any]) -> tuple[float, float | None]:
    """``begin_time`` and ``end_time`` of a segment, checked.

    Raises:
        RowError: if they are no part of a recording.
    """
    times = (seconds(segment.get(name), name) for name in ("begin_time", "end_time"))
    return checked_part(*times)


def words_of(value: dict[str, Any], name: str) -> str:
    """A list of words, such as ``subsets``, joined by commas and without braces; empty where there is none."""
    found = value.get(name) or []
    words = [str(one).strip("{}") for one in (found if isinstance(found, list) else [found])]
    return ",".join(words)


def _audio(root: CorpusRoot, path: str) -> str:
    if path in root.files:
        return path
    # Corpora of Opus files are often kept in another container.
    return audio_at(root, splitext(path)[0]) or path
