"""Reader ``emilia``: one JSON beside each MP3, in tar files or folders, or JSON lines; Emilia-YODAS has the same.

A JSON has ``id`` (``_id`` in YODAS), ``text``, ``speaker``, ``language``, ``dnsmos`` and ``duration``. The audio is the
member or file of the same name beside it, else ``wav`` or ``mp3``, relative to the folder of the JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import dirname, join, normpath, splitext
from typing import Any

from assets.corpora.options import ReaderOptions
from assets.corpora.recordings import Recordings, audio_at
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import (
    RowError,
    json_object,
    rows_of_lines,
    string_of,
    text_lines,
)
from assets.corpora.shards import COMPRESSED, ShardPair, pairs_of_shard
from assets.corpora.utterance import Row, SourceProblem, Utterance


class EmiliaOptions(ReaderOptions):
    """None: the layout says everything."""

    def wanted(self) -> str:
        """The layout."""
        return "*.tar with *.json and *.mp3, *.json beside *.mp3, or *.jsonl"

    def field_names(self) -> frozenset[str]:
        """``dnsmos`` and ``duration`` (seconds), as the JSON has them, empty where it has not."""
        return frozenset({"dnsmos", "duration"})


def read_emilia(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the files, and of the keys within a tar, then audio that none of them names."""
    recordings = Recordings(root)
    for name in root.files:
        suffix = splitext(name)[1]
        if suffix == ".tar" or name.endswith(COMPRESSED):
            yield from map(_packed, pairs_of_shard(root, name, ".json"))
        elif suffix == ".json":
            yield _beside(root, name, recordings)
        elif suffix == ".jsonl":
            folder = dirname(name)

            def make(line: str, source: str, folder: str = folder) -> Utterance:
                value = json_object(line)
                return _row(value, source, _named(value, folder))

            yield from map(recordings.without, rows_of_lines(root, name, make))
    yield from recordings.rows("no JSON")


def _beside(root: CorpusRoot, name: str, recordings: Recordings) -> Row:
    stem = splitext(name)[0]
    audio = audio_at(root, stem)
    if audio is not None:
        recordings.name(audio)
    try:
        value = json_object(" ".join(text_lines(root, name)))
        return recordings.without(_row(value, name, audio or _named(value, dirname(name))))
    except RowError as error:
        return error.at(name, stem)


def _packed(pair: ShardPair | SourceProblem) -> Row:
    if isinstance(pair, SourceProblem):
        return pair
    try:
        if isinstance(pair.text, RowError):
            raise pair.text
        return _row(json_object(pair.text), pair.source, pair.audio)
    except RowError as error:
        return error.at(pair.source, pair.key)


def _named(value: dict[str, Any], folder: str) -> str:
    path = string_of(value, "wav", "mp3")
    # An absolute path or one that climbs out is left as it is, and refused where the audio is looked for.
    return join(folder, path) if path.startswith("/") else normpath(join(folder, path))


def _row(value: dict[str, Any], source: str, audio: str) -> Utterance:
    utterance_id = string_of(value, "id", "_id")
    if not utterance_id:
        raise RowError("malformed_row", "id is empty")
    text, speaker = string_of(value, "text"), string_of(value, "speaker")
    language = string_of(value, "language") if "language" in value else ""
    fields = {name: str(value.get(name, "")) for name in ("dnsmos", "duration")}
    return Utterance(utterance_id, source, audio, text, speaker or "unknown", language or None, fields=fields)
