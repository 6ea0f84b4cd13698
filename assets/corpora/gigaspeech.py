"""Reader ``gigaspeech``: ``GigaSpeech.json``, the segments of which are cut from long Opus files.

The text is upper case with tags for punctuation, such as ``<COMMA>``. A segment whose text is only ``<SIL>``,
``<MUSIC>``, ``<NOISE>`` or ``<OTHER>`` holds no speech, and is a row without a transcript.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

from assets.corpora.options import ReaderOptions
from assets.corpora.recordings import Recordings
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import InRoot, ListOptions, RowError, string_of
from assets.corpora.segments import part_of, rows_of_audios, words_of
from assets.corpora.utterance import Row, Utterance

_MARK_OF = {"COMMA": ",", "PERIOD": ".", "QUESTIONMARK": "?", "EXCLAMATIONPOINT": "!"}
_NO_SPEECH = frozenset({"SIL", "MUSIC", "NOISE", "OTHER"})
_TAG = re.compile(r"<([A-Z_]+)>")


class GigaSpeechOptions(ListOptions):
    """Which JSON is read, and how its text.

    Attributes:
        file: The JSON; its paths are relative to its folder.
        punctuation: ``marks``: its tags become ``,`` ``.`` ``?`` ``!``; ``drop``: they are left out.
    """

    file: InRoot = "GigaSpeech.json"
    punctuation: Literal["marks", "drop"] = "marks"

    def wanted(self) -> str:
        """The JSON's segments."""
        return f"segments of audios in {self.file}"

    def required_files(self) -> tuple[str, ...]:
        """The JSON."""
        return (self.file,)

    def field_names(self) -> frozenset[str]:
        """``subsets`` such as ``XL,L``, ``recording``, ``origin`` and ``category``, as the JSON has them."""
        return frozenset({"subsets", "recording", "origin", "category"})


def read_gigaspeech(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the JSON, then audio that it does not name."""
    assert isinstance(options, GigaSpeechOptions)
    recordings = Recordings(root, options.unlisted == "report")

    def make(audio: dict[str, Any], segment: dict[str, Any], source: str, path: str) -> Utterance:
        return _row(audio, segment, source, path, options.punctuation == "marks")

    yield from rows_of_audios(root, options.file, recordings, make, options.strip_prefix)
    yield from recordings.rows(f"no audio of {options.file}")


def _row(
    audio: dict[str, Any], segment: dict[str, Any], source: str, path: str, has_marks: bool
) -> Utterance:
    start_s, end_s = part_of(segment)
    speaker = str(segment.get("speaker") or audio.get("speaker") or "N/A")
    fields = {
        "subsets": words_of(segment, "subsets"),
        "recording": str(audio.get("aid", "")),
        "origin": str(audio.get("source", "")),
        "category": str(audio.get("category", "")),
    }
    return Utterance(
        string_of(segment, "sid"),
        source,
        path,
        _text(string_of(segment, "text_tn"), has_marks),
        "unknown" if speaker == "N/A" else speaker,
        segment_start_s=start_s,
        segment_end_s=end_s,
        fields=fields,
        topic=fields["category"] or None,
    )


def _text(tagged: str, has_marks: bool) -> str:
    tags = set(_TAG.findall(tagged))
    if tags & _NO_SPEECH:
        if tagged.removeprefix("<").removesuffix(">") not in _NO_SPEECH:
            raise RowError("malformed_row", f"holds speech and {sorted(tags & _NO_SPEECH)}: {tagged[:80]!r}")
        raise RowError("no_transcript", f"is tagged {tagged}: no speech")
    if unknown := sorted(tags - set(_MARK_OF)):
        raise RowError("malformed_row", f"unknown tags {unknown}; allowed are {', '.join(_MARK_OF)}")
    # Pieces of text and tags take turns. A mark stands beside its word; no pattern with the spaces in it is looked for,
    # since that would try all the spaces of a long row from each of them.
    pieces = _TAG.split(tagged)
    marks = [_MARK_OF[tag] if has_marks else "" for tag in pieces[1::2]]
    words = [piece.rstrip() for piece in pieces[:-1:2]]
    return ("".join(map("".join, zip(words, marks, strict=True))) + pieces[-1]).strip()
