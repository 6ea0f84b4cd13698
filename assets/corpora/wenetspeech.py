"""Reader ``wenetspeech``: one JSON with ``audios``, the segments of which are cut from long Opus files.

The corpus does not say who speaks. Its text has no spaces between words.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from assets.corpora.options import ReaderOptions
from assets.corpora.recordings import Recordings
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import InRoot, ListOptions, string_of
from assets.corpora.segments import part_of, rows_of_audios, words_of
from assets.corpora.utterance import Row, Utterance


class WenetSpeechOptions(ListOptions):
    """Which JSON is read.

    Attributes:
        file: The JSON; its paths are relative to its folder.
    """

    file: InRoot = "WenetSpeech.json"

    def wanted(self) -> str:
        """The JSON's segments."""
        return f"segments of audios in {self.file}"

    def required_files(self) -> tuple[str, ...]:
        """The JSON."""
        return (self.file,)

    def field_names(self) -> frozenset[str]:
        """``subsets`` such as ``L,M``, ``recording``, ``origin``, ``tags`` and ``confidence``, as the JSON has them."""
        return frozenset({"subsets", "recording", "origin", "tags", "confidence"})


def read_wenetspeech(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the JSON, then audio that it does not name."""
    assert isinstance(options, WenetSpeechOptions)
    recordings = Recordings(root, options.unlisted == "report")
    yield from rows_of_audios(root, options.file, recordings, _row, options.strip_prefix)
    yield from recordings.rows(f"no audio of {options.file}")


def _row(audio: dict[str, Any], segment: dict[str, Any], source: str, path: str) -> Utterance:
    start_s, end_s = part_of(segment)
    fields = {
        "subsets": words_of(segment, "subsets"),
        "recording": str(audio.get("aid", "")),
        "origin": str(audio.get("source", "")),
        "tags": words_of(audio, "tags"),
        "confidence": str(segment.get("confidence", "")),
    }
    return Utterance(
        string_of(segment, "sid"),
        source,
        path,
        string_of(segment, "text"),
        "unknown",
        segment_start_s=start_s,
        segment_end_s=end_s,
        fields=fields,
    )
