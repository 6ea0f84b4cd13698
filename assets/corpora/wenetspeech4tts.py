"""Reader ``wenetspeech4tts``: ``<subset>/WenetSpeech4TTS_<subset>_<n>/wavs/<id>.wav`` with ``txts/<id>.txt``.

The first line of a text file is ``<id><tab><text>``; the second one, the words' times, is not read. The lists under
``filelists/`` and ``DNSMOS_P808Scores/`` are not needed: a subset's name is its lowest DNSMOS (Premium 4.0, Standard
3.8, Basic 3.6). The corpus does not say who speaks; an id starts with the recording that the segment was cut from.
"""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import basename

from assets.corpora.options import ReaderOptions
from assets.corpora.recordings import Pair, pairs
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import RowError, cells_of, text_lines
from assets.corpora.utterance import Row, SourceProblem, Utterance

_LAYOUT_DEPTH = 4  # subset, part, wavs, file


class WenetSpeech4TTSOptions(ReaderOptions):
    """None: the layout says everything."""

    def wanted(self) -> str:
        """The layout."""
        return "<subset>/<part>/wavs/*.wav, each with its txts/*.txt"

    def field_names(self) -> frozenset[str]:
        """``subset`` such as ``Premium``, and ``recording``."""
        return frozenset({"subset", "recording"})


def read_wenetspeech4tts(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the files."""
    for pair in pairs(root, ".txt", folders=("wavs", "txts")):
        yield pair if isinstance(pair, SourceProblem) else _row(root, pair)


def _row(root: CorpusRoot, pair: Pair) -> Row:
    utterance_id = basename(pair.stem)
    try:
        stated, text = cells_of((text_lines(root, pair.text) or [""])[0], "\t", ("id", "text"))
        if stated != utterance_id:
            detail = f"{pair.text} has the text of {stated!r}; wanted is the id {utterance_id!r}"
            raise RowError("malformed_row", detail)
    except RowError as error:
        return error.at(pair.audio, utterance_id)
    folders = pair.audio.split("/")
    subset = folders[-_LAYOUT_DEPTH] if len(folders) >= _LAYOUT_DEPTH else ""
    fields = {"subset": subset, "recording": utterance_id.rpartition("_S")[0]}
    return Utterance(utterance_id, pair.audio, pair.audio, text, "unknown", fields=fields)
