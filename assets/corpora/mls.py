"""Reader ``mls``: ``<split>/transcripts.txt`` with ``<id><tab><text>``, ``<split>/audio/<speaker>/<book>/<id>.flac``.

The audio is FLAC or Opus. Multilingual LibriSpeech is published per language, which its files do not state: the
entry's language is theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import basename, dirname, join

from assets.corpora.options import ReaderOptions
from assets.corpora.recordings import Recordings
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import RowError, cells_of, rows_of_lines
from assets.corpora.utterance import Row, Utterance

_TRANSCRIPTS = "transcripts.txt"
_ID_PARTS = 3  # speaker, book, number


class MlsOptions(ReaderOptions):
    """None: the layout says everything."""

    def wanted(self) -> str:
        """The layout."""
        return f"<split>/{_TRANSCRIPTS} and <split>/audio"

    def field_names(self) -> frozenset[str]:
        """``subset`` (``train``, ``dev`` or ``test``) and ``book``."""
        return frozenset({"subset", "book"})


def read_mls(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the transcript files, then audio that none of them names."""
    recordings = Recordings(root, first=".flac")
    for name in (name for name in root.files if basename(name) == _TRANSCRIPTS):
        folder = dirname(name)

        def make(line: str, source: str, folder: str = folder) -> Utterance:
            return _row(folder, line, source, recordings)

        yield from rows_of_lines(root, name, make)
    yield from recordings.rows(f"no line of a {_TRANSCRIPTS}")


def _row(folder: str, line: str, source: str, recordings: Recordings) -> Utterance:
    utterance_id = line.partition("\t")[0].partition(" ")[0]
    parts = utterance_id.split("_")
    if len(parts) != _ID_PARTS or not all(part.isalnum() for part in parts):
        detail = f"id {utterance_id!r} has another form than speaker_book_number"
        raise RowError("unmatched_name", detail, utterance_id=utterance_id)
    speaker, book, _ = parts
    stem = join(folder, "audio", speaker, book, utterance_id)
    audio = recordings.at(stem)
    _, text = cells_of(line, "\t", ("id", "text"))
    fields = {"subset": basename(folder), "book": book}
    return Utterance(utterance_id, source, audio, text, speaker, fields=fields)
