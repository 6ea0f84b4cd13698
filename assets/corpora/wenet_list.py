"""Reader ``wenet_list``: WeNet's ``data.list``, JSON lines with ``key``, ``wav`` and ``txt``, or a list of shards.

A line may have ``speaker`` and ``lang`` besides, and ``start`` or ``end``, in seconds, of a part of a longer file. A
line of a list of shards is the path of a tar with ``<key>.txt`` beside ``<key>.wav`` (or another kind of audio).
WeNet's pair of ``wav.scp`` and ``text`` is read by ``kaldi``.
"""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import splitext
from typing import Literal

from assets.corpora.options import ReaderOptions
from assets.corpora.recordings import Recordings
from assets.corpora.root import CorpusRoot, OutsideRootError
from assets.corpora.rows import (
    InRoot,
    ListOptions,
    RowError,
    decoded,
    json_object,
    places,
    rows_of_lines,
    string_of,
)
from assets.corpora.segments import checked_part, seconds
from assets.corpora.shards import COMPRESSED, ShardPair, pairs_of_shard
from assets.corpora.utterance import Row, SourceProblem, Utterance


class WenetListOptions(ListOptions):
    """Which list is read.

    Attributes:
        file: The list; its paths are relative to the root, or absolute below it.
        data_type: ``raw``: lines of JSON; ``shard``: paths of tar files. The words are WeNet's.
    """

    file: InRoot = "data.list"
    data_type: Literal["raw", "shard"] = "raw"

    def wanted(self) -> str:
        """The list's lines."""
        return f"{'JSON lines' if self.data_type == 'raw' else 'paths of tar files'} in {self.file}"

    def required_files(self) -> tuple[str, ...]:
        """The list."""
        return (self.file,)


def read_wenet_list(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the list, and of the keys within a shard; then audio, or shards, that it does not name."""
    assert isinstance(options, WenetListOptions)
    if options.data_type == "shard":
        yield from _shards(root, options)
        return
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


def _shards(root: CorpusRoot, options: WenetListOptions) -> Iterator[Row]:
    named: dict[str, str] = {}
    for place in places(root, options.file):
        if isinstance(place, SourceProblem):
            yield place
            continue
        source, line = place
        if not line.strip():
            continue
        try:
            shard = _shard(root, decoded(line).strip().removeprefix(options.strip_prefix))
            if shard in named:
                raise RowError("duplicate_id", f"{shard!r} stands at {named[shard]} already")
        except RowError as error:
            yield error.at(source)
            continue
        named[shard] = source
        yield from map(_packed, pairs_of_shard(root, shard, ".txt"))
    if options.unlisted == "report":
        yield from Recordings(root).rows(f"no line of {options.file}")
        for name in root.files:
            if name not in named and name.endswith((".tar", *COMPRESSED)):
                detail = f"{name}: no line of {options.file} names this shard"
                yield SourceProblem(splitext(name)[0], name, "no_transcript", detail)


def _shard(root: CorpusRoot, named: str) -> str:
    try:
        shard = root.resolve(named)
    except OutsideRootError as error:
        raise RowError("outside_root", str(error)) from error
    if shard is None:
        raise RowError("missing_file", f"the shard {named!r:.200} is not among the files below {root.path}")
    return shard


def _packed(pair: ShardPair | SourceProblem) -> Row:
    if isinstance(pair, SourceProblem):
        return pair
    if isinstance(pair.text, RowError):
        return pair.text.at(pair.source, pair.key)
    return Utterance(pair.key, pair.source, pair.audio, " ".join(pair.text.split()), "unknown")
