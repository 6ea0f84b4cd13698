"""Reader ``librispeech``: ``<subset>/<speaker>/<chapter>/<id>.flac`` with one ``*.trans.txt`` per chapter.

A line of a transcript file is ``<id> <TEXT>``. Empty lines are no rows. Every audio file that no line names is a row
without a transcript; one that differs from another in its extension only repeats its id.
"""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import basename, dirname, join

from assets.corpora.options import ReaderOptions
from assets.corpora.recordings import Recordings
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import rows_of_lines
from assets.corpora.utterance import Row, Utterance

_TRANSCRIPT = ".trans.txt"
_LAYOUT_DEPTH = 4  # subset, speaker, chapter, file


class LibriSpeechOptions(ReaderOptions):
    """None: the layout says everything."""

    def wanted(self) -> str:
        """The layout."""
        return f"<subset>/<speaker>/<chapter>/*{_TRANSCRIPT} and the audio beside it"

    def field_names(self) -> frozenset[str]:
        """``subset`` such as ``test-other``, and ``chapter``."""
        return frozenset({"subset", "chapter"})


def read_librispeech(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Transcribed utterances in the order of the transcript files, then audio without a transcript."""
    recordings = Recordings(root, first=".flac")
    for transcript in (name for name in root.files if name.endswith(_TRANSCRIPT)):
        folder = dirname(transcript)

        def make(line: str, source: str, folder: str = folder) -> Utterance:
            utterance_id, _, text = line.strip().partition(" ")
            return _utterance(utterance_id, source, recordings.at(join(folder, utterance_id)), text.strip())

        yield from rows_of_lines(root, transcript, make)
    yield from recordings.rows(f"no line of a {_TRANSCRIPT} file in its folder", basename)


def _utterance(utterance_id: str, source: str, audio: str, text: str) -> Utterance:
    parts = audio.split("/")
    subset = parts[-_LAYOUT_DEPTH] if len(parts) >= _LAYOUT_DEPTH else ""
    speaker, _, rest = utterance_id.partition("-")
    fields = {"subset": subset, "chapter": rest.partition("-")[0]}
    return Utterance(utterance_id, source, audio, text, speaker, fields=fields)
