"""Reader ``sphinx``: ``<name>.fileids`` and ``<name>.transcription``, one line per utterance each.

A line of the first is the audio's path without its extension, one of the second ``<s> text </s> (<id>)``, where the id
is that path or its last part. ``<s>``, ``</s>``, ``<sil>`` and the numbers of pronunciations, as in ``read(2)``, are no
text. The order of the two files need not be the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from posixpath import basename, dirname, join

from assets.corpora.keyed import KeyedLines
from assets.corpora.options import ReaderOptions
from assets.corpora.path_pattern import PathPatternOptions
from assets.corpora.recordings import Recordings
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import InRoot, RowError, rows_of_lines
from assets.corpora.utterance import Row, SourceProblem, Utterance

_FILEIDS, _TRANSCRIPTION = ".fileids", ".transcription"
_LINE = re.compile(r"(?P<text>.*)\((?P<id>[^()\s]+)\)")
_NO_TEXT = re.compile(r"</?s>|<sil>|(?<=\S)\(\d+\)(?!\S)")


class SphinxOptions(PathPatternOptions):
    """Where the audio lies.

    Attributes:
        audio_folder: What the paths of the lists are relative to, such as ``wav``; ``None``: the list's own folder.
    """

    audio_folder: InRoot | None = None

    def wanted(self) -> str:
        """The lists."""
        return f"*{_FILEIDS} with *{_TRANSCRIPTION}"

    def field_names(self) -> frozenset[str]:
        """The groups of the pattern, and ``list``: the lists' name, such as ``an4_train``."""
        return super().field_names() | {"list"}


def read_sphinx(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the lists, then texts that no list names, then audio that none names."""
    assert isinstance(options, SphinxOptions)
    recordings = Recordings(root)
    lists = {name.rsplit(".", 1)[0] for name in root.files if name.endswith((_FILEIDS, _TRANSCRIPTION))}
    for name in sorted(lists):
        with KeyedLines() as texts:
            yield from _list(root, name, texts, options, recordings)
    yield from recordings.rows(f"no line of a *{_FILEIDS}")


def _list(
    root: CorpusRoot, name: str, texts: KeyedLines, options: SphinxOptions, recordings: Recordings
) -> Iterator[Row]:
    fileids, transcription = name + _FILEIDS, name + _TRANSCRIPTION
    folder = dirname(name) if options.audio_folder is None else options.audio_folder

    def keep(line: str, source: str) -> None:
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise RowError("malformed_row", f"wanted is <s> text </s> (id), got {line[:80]!r}")
        texts.put(match["id"], source, " ".join(_NO_TEXT.sub(" ", match["text"]).split()))

    def make(line: str, source: str) -> Utterance:
        fileid = line.strip()
        stem = join(folder, fileid)
        audio = recordings.at(stem)
        text = texts.take(fileid)
        if text is None:
            text = texts.take(basename(fileid))
        if text is None:
            raise RowError(
                "no_transcript", f"{transcription} has no line for {fileid!r}", utterance_id=fileid
            )
        fields = options.path_fields(fileid)
        speaker, language = fields.get("speaker") or "unknown", fields.get("language") or None
        fields["list"] = basename(name)
        return Utterance(fileid, source, audio, text, speaker, language, fields=fields)

    if transcription in root.files:
        yield from rows_of_lines(root, transcription, keep)
    if fileids in root.files:
        yield from rows_of_lines(root, fileids, make)
    for key, source in texts.left():
        detail = f"{source}: {fileids} has no line for {key!r}"
        yield SourceProblem(key, source, "missing_audio", detail)
