"""Reader ``ljspeech``: ``metadata.csv`` with lines ``id|text|normalised text`` and ``wavs/<id>.wav`` beside it.

There is no quoting. The normalised text is used, or the written one where that is empty. Empty lines are no rows. A
line of another form, and every audio file in ``wavs/`` that no line names or that differs from another in its extension
only, is a row of the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from posixpath import dirname, join
from typing import Literal

from pydantic import field_validator, model_validator

from assets.corpora.options import ReaderOptions, checked_pattern
from assets.corpora.recordings import Recordings
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import InRoot, RowError, cells_of, rows_of_lines
from assets.corpora.utterance import Row, Utterance

_COLUMNS = ("id", "text", "normalised text")
_OTHER_DELIMITERS = re.compile(r"[\t;,]")


class LJSpeechOptions(ReaderOptions):
    """Where the metadata stand and who speaks.

    Attributes:
        metadata: The metadata file, relative to the root; ``wavs/`` lies beside it.
        columns: 3, or 2 where there is only one text.
        header: Whether the first line that is not empty names the columns.
        speaker: Name of the one speaker.
        speaker_pattern: Instead: a regular expression, searched for in the id, with a group ``speaker``.
    """

    metadata: InRoot = "metadata.csv"
    columns: Literal[2, 3] = 3
    header: bool = False
    speaker: str = "LJ"
    speaker_pattern: str | None = None

    @field_validator("speaker_pattern")
    @classmethod
    def _has_group(cls, pattern: str | None) -> str | None:
        if pattern is not None and "speaker" not in re.compile(checked_pattern(pattern)).groupindex:
            raise ValueError("needs a group (?P<speaker>…)")
        return pattern

    @model_validator(mode="after")
    def _one_way(self) -> LJSpeechOptions:
        if self.speaker_pattern is not None and "speaker" in self.model_fields_set:
            raise ValueError("allowed is either speaker or speaker_pattern, not both")
        return self

    def wanted(self) -> str:
        """The metadata's rows."""
        return f"rows {'|'.join(_COLUMNS[: self.columns])} in {self.metadata}"

    def required_files(self) -> tuple[str, ...]:
        """The metadata file."""
        return (self.metadata,)


def read_ljspeech(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the metadata file, then audio that no row names."""
    assert isinstance(options, LJSpeechOptions)
    folder = join(dirname(options.metadata), "wavs")
    recordings = Recordings(root, folder=folder)
    is_header = options.header

    def make(line: str, source: str) -> Utterance | None:
        nonlocal is_header
        if is_header:
            is_header = False
            return None
        # The row names its audio even where it is faulty.
        utterance_id = (
            _OTHER_DELIMITERS.split(line)[0] if "|" not in line else line.partition("|")[0]
        ).strip()
        audio = recordings.at(join(folder, utterance_id))
        try:
            texts = cells_of(line, "|", _COLUMNS[: options.columns])[1:]
            speaker = _speaker(utterance_id, options)
        except RowError as error:
            error.belongs_to(utterance_id)
            raise
        return Utterance(utterance_id, source, audio, texts[-1] or texts[0], speaker)

    yield from rows_of_lines(root, options.metadata, make)
    yield from recordings.rows(f"no row of {options.metadata}", lambda stem: stem[len(folder) + 1 :])


def _speaker(utterance_id: str, options: LJSpeechOptions) -> str:
    if options.speaker_pattern is None:
        return options.speaker
    match = re.search(options.speaker_pattern, utterance_id)
    if match is None or not match["speaker"]:
        detail = f"id {utterance_id!r} does not match speaker_pattern {options.speaker_pattern!r}"
        raise RowError("unmatched_name", detail)
    return match["speaker"]
