"""Reader ``libritts``: ``<subset>/<speaker>/<chapter>/<id>.wav`` with a text file or two beside each.

``<id>.normalized.txt`` is the text as it is spoken, ``<id>.original.txt`` as it is printed. LibriTTS-R has the same
layout. The chapters' ``*.tsv`` say nothing more and are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import basename
from typing import Literal

from assets.corpora.options import ReaderOptions
from assets.corpora.recordings import Pair, pairs
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import RowError, text_lines
from assets.corpora.utterance import Row, SourceProblem, Utterance

_LAYOUT_DEPTH = 4  # subset, speaker, chapter, file
_ID_PARTS = 4  # speaker, chapter, paragraph, sentence


class LibriTTSOptions(ReaderOptions):
    """Which text is read.

    Attributes:
        text: ``normalized`` (numbers and abbreviations spelled out) or ``original``.
    """

    text: Literal["normalized", "original"] = "normalized"

    def wanted(self) -> str:
        """The layout."""
        return f"<subset>/<speaker>/<chapter>/*.wav, each with its *.{self.text}.txt"

    def field_names(self) -> frozenset[str]:
        """``subset`` such as ``dev-clean``, and ``chapter``."""
        return frozenset({"subset", "chapter"})


def read_libritts(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the files."""
    assert isinstance(options, LibriTTSOptions)
    for pair in pairs(root, f".{options.text}.txt"):
        yield pair if isinstance(pair, SourceProblem) else _row(root, pair)


def _row(root: CorpusRoot, pair: Pair) -> Row:
    utterance_id = basename(pair.stem)
    parts = utterance_id.split("_")
    folders = pair.audio.split("/")
    try:
        if len(parts) != _ID_PARTS:
            detail = f"id {utterance_id!r} has another form than speaker_chapter_paragraph_sentence"
            raise RowError("unmatched_name", detail)
        text = " ".join(text_lines(root, pair.text))
    except RowError as error:
        return error.at(pair.audio, utterance_id)
    subset = folders[-_LAYOUT_DEPTH] if len(folders) >= _LAYOUT_DEPTH else ""
    fields = {"subset": subset, "chapter": parts[1]}
    return Utterance(utterance_id, pair.audio, pair.audio, text, parts[0], fields=fields)
