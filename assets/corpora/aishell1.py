"""Reader ``aishell1``: ``transcript/aishell_transcript_v0.8.txt`` and ``wav/<split>/<speaker>/<id>.wav``.

A line is ``<id> <words>``. The words stand apart as Chinese is not written, so that the spaces are dropped, but for
those between Latin letters or digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from posixpath import dirname, join

from assets.corpora.options import ReaderOptions
from assets.corpora.recordings import Recordings
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import InRoot, RowError, rows_of_lines
from assets.corpora.utterance import Row, Utterance

_ID = re.compile(r"BAC\d{3}(?P<speaker>S\d{4})W\d{4}")
_SPACE_BESIDE_HANZI = re.compile(r"(?<![A-Za-z0-9])\s+|\s+(?![A-Za-z0-9])")


class Aishell1Options(ReaderOptions):
    """Which transcript is read, and how.

    Attributes:
        transcript: The transcript file; ``wav/`` lies beside its folder.
        keep_spaces: Leave the text as it stands, its words apart.
    """

    transcript: InRoot = "transcript/aishell_transcript_v0.8.txt"
    keep_spaces: bool = False

    def wanted(self) -> str:
        """The transcript's lines."""
        return f"lines <id> <words> in {self.transcript}"

    def required_files(self) -> tuple[str, ...]:
        """The transcript."""
        return (self.transcript,)

    def field_names(self) -> frozenset[str]:
        """``subset``: ``train``, ``dev`` or ``test``."""
        return frozenset({"subset"})


def read_aishell1(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the transcript, then audio that it does not name (the corpus has 325 of them)."""
    assert isinstance(options, Aishell1Options)
    folder = join(dirname(dirname(options.transcript)), "wav")
    # The id does not say which split its audio is in: each is asked.
    below = (name[len(folder) + 1 :] for name in root.files.below(folder))
    subsets = sorted({rest.split("/")[0] for rest in below if "/" in rest})
    recordings = Recordings(root)

    def make(line: str, source: str) -> Utterance:
        utterance_id, _, text = line.strip().partition(" ")
        match = _ID.fullmatch(utterance_id)
        if match is None:
            raise RowError("unmatched_name", f"id {utterance_id!r} has another form than BAC009S0002W0122")
        speaker = match["speaker"]
        places = ((subset, join(folder, subset, speaker, f"{utterance_id}.wav")) for subset in ("", *subsets))
        subset, audio = next((place for place in places if place[1] in root.files), ("", ""))
        audio = audio or join(folder, speaker, f"{utterance_id}.wav")
        text = text.strip() if options.keep_spaces else _SPACE_BESIDE_HANZI.sub("", text.strip())
        return Utterance(utterance_id, source, audio, text, speaker, fields={"subset": subset})

    yield from map(recordings.without, rows_of_lines(root, options.transcript, make))
    yield from recordings.rows(f"no line of {options.transcript}")
