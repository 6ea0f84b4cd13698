"""Reader ``ljspeech``: ``metadata.csv`` with lines ``id|text|normalised text`` and ``wavs/<id>.wav`` beside it.

The file has no header and no quoting. The normalised text is used, or the written one where that is empty. Empty
lines are no rows. A line of another form, and every audio file in ``wavs/`` that no line names or that differs from
another in its extension only, is a row of the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from pydantic import field_validator, model_validator

from assets.corpora.options import ReaderOptions, checked_pattern
from assets.corpora.recordings import audio_by_stem, left_over
from assets.corpora.root import CorpusRoot
from assets.corpora.utterance import Row, SourceProblem, Utterance

_COLUMNS = 3
_SUFFIX = ".wav"
_OTHER_DELIMITERS = re.compile(r"[\t;,]")


class LJSpeechOptions(ReaderOptions):
    """Where the metadata stand and who speaks.

    Attributes:
        metadata: The metadata file, relative to the root; ``wavs/`` lies beside it.
        speaker: Name of the one speaker.
        speaker_pattern: Instead: a regular expression, searched for in the id, with a group ``speaker``.
    """

    metadata: str = "metadata.csv"
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
        return f"rows id|text|normalised text in {self.metadata}"

    def required_files(self) -> tuple[str, ...]:
        """The metadata file."""
        return (self.metadata,)


def read_ljspeech(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the metadata file, then audio that no row names."""
    assert isinstance(options, LJSpeechOptions)
    folder = (PurePosixPath(options.metadata).parent / "wavs").as_posix()
    fault = root.text_fault(options.metadata)
    if fault is not None:
        yield fault
        return
    audio = audio_by_stem(root, folder, _SUFFIX)
    named: set[str] = set()
    for number, line in root.lines(options.metadata):
        if not line.strip():
            continue
        row = _row(line, f"{options.metadata}:{number}", options)
        stem = f"{folder}/{row.utterance_id}"
        named.add(stem)
        if isinstance(row, SourceProblem):
            yield row
        else:
            yield replace(row, audio=audio.get(stem, [f"{stem}{_SUFFIX}"])[0])
    yield from left_over(audio, named, lambda stem: stem[len(folder) + 1 :], f"no row of {options.metadata}")


def _row(line: bytes, source: str, options: LJSpeechOptions) -> Row:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return SourceProblem(source, source, "not_utf8", f"{source}: not UTF-8: {error}")
    cells = [cell.strip() for cell in text.split("|")]
    utterance_id = cells[0]
    if len(cells) == 1:
        utterance_id = _OTHER_DELIMITERS.split(text)[0].strip() or source
        detail = f"{source}: no '|' in the row; wanted are id|text|normalised text, got {text[:80]!r}"
        return SourceProblem(utterance_id, source, "wrong_delimiter", detail, 1.0, float(_COLUMNS))
    if len(cells) != _COLUMNS:
        detail = f"{source}: {len(cells)} columns; wanted are the {_COLUMNS} columns id|text|normalised text"
        return SourceProblem(
            utterance_id or source, source, "column_count", detail, float(len(cells)), float(_COLUMNS)
        )
    if not utterance_id:
        return SourceProblem(source, source, "malformed_row", f"{source}: the first column, the id, is empty")
    speaker: str | None = options.speaker
    if options.speaker_pattern is not None:
        match = re.search(options.speaker_pattern, utterance_id)
        speaker = match["speaker"] if match else None
    if speaker is None:
        detail = f"{source}: id {utterance_id!r} does not match speaker_pattern {options.speaker_pattern!r}"
        return SourceProblem(utterance_id, source, "unmatched_name", detail)
    return Utterance(utterance_id, source, None, cells[2] or cells[1], speaker)
