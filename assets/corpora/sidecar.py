"""Reader ``sidecar``: ``<stem>.txt`` (or ``.lab``) beside each audio file; folders may say who speaks which language.

The id is the audio's path below the root without its extension. A text file without audio is a row too.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import field_validator

from assets.corpora.options import ReaderOptions
from assets.corpora.path_pattern import PathPatternOptions
from assets.corpora.recordings import Pair, is_audio, pairs
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import RowError, text_lines
from assets.corpora.utterance import Row, SourceProblem, Utterance


class SidecarOptions(PathPatternOptions):
    """Which files hold the text.

    Attributes:
        suffix: What stands in place of the audio's extension.
    """

    suffix: str = ".txt"

    def wanted(self) -> str:
        """The layout."""
        return f"audio files, each with its *{self.suffix}"

    @field_validator("suffix")
    @classmethod
    def _is_text(cls, suffix: str) -> str:
        if not suffix.startswith(".") or suffix == "." or "/" in suffix or is_audio(f"x{suffix}"):
            raise ValueError("allowed is the extension of a text file with its dot, such as .txt or .lab")
        return suffix


def read_sidecar(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the files."""
    assert isinstance(options, SidecarOptions)
    for pair in pairs(root, options.suffix):
        yield pair if isinstance(pair, SourceProblem) else _row(root, pair, options)


def _row(root: CorpusRoot, pair: Pair, options: SidecarOptions) -> Row:
    try:
        fields = options.path_fields(pair.stem)
        text = " ".join(text_lines(root, pair.text))
    except RowError as error:
        return error.at(pair.audio, pair.stem)
    speaker, language = fields.get("speaker") or "unknown", fields.get("language") or None
    return Utterance(pair.stem, pair.audio, pair.audio, text, speaker, language, fields=fields)
