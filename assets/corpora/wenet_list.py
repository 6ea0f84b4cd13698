"""Reader ``wenet_list``: WeNet's ``data.list``, JSON lines with ``key``, ``wav`` and ``txt``.

A line may have ``speaker`` and ``lang`` besides, and ``start`` or ``end``, in seconds, of a part of a longer file.
WeNet's pair of ``wav.scp`` and ``text`` is read by ``kaldi``.
"""

from __future__ import annotations

from collections.abc import Iterator

from assets.corpora.options import ReaderOptions
from assets.corpora.recordings import Recordings
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import (
    InRoot,
    ListOptions,
    RowError,
    json_object,
    rows_of_lines,
    string_of,
)
from assets.corpora.segments import checked_part, seconds
from assets.corpora.utterance import Row, Utterance


class WenetListOptions(ListOptions):
    """Which list is read.

    Attributes:
        file: The list; its paths are relative to the root, or absolute below it.
    """

    file: InRoot = "data.list"

    def wanted(self) -> str:
        """The list's lines."""
        return f"JSON lines in {self.file}"

    def required_files(self) -> tuple[str, ...]:
        """The list."""
        return (self.file,)


def read_wenet_list(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the list, then audio that it does not name."""
    assert isinstance(options, WenetListOptions)
    recordings = Recordings(root, options.unlisted == "report")

    def make(line: str, source: str) -> Utterance:
        return _row(line, source, options.strip_prefix, recordings)

    yield from rows_of_lines(root, options.file, make)
    yield from recordings.rows(f"no line of {options.file}")


def _row(line: str, source: str, strip_prefix: str, recordings: Recordings) -> Utterance:
    value = json_object(line)
    utterance_id = string_of(value, "key")
    if not utterance_id:
        raise RowError("malformed_row", "key is empty")
    try:
        audio = string_of(value, "wav").removeprefix(strip_prefix)
        recordings.name(audio)
        start_s = seconds(value["start"], "start") if "start" in value else None
        end_s = seconds(value["end"], "end") if "end" in value else None
        if start_s is not None or end_s is not None:
            start_s, end_s = checked_part(start_s or 0.0, end_s)
        text = string_of(value, "txt")
        speaker = string_of(value, "speaker") if "speaker" in value else ""
        language = string_of(value, "lang") if "lang" in value else ""
    except RowError as error:
        error.belongs_to(utterance_id)
        raise
    return Utterance(
        utterance_id,
        source,
        audio,
        text,
        speaker or "unknown",
        language or None,
        segment_start_s=start_s,
        segment_end_s=end_s,
    )
