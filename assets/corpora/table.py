"""Reader ``table``: a CSV or TSV file, or one with another delimiter, and which of its columns say what.

LJSpeech's relatives are tables too: ``delimiter: '|'``, ``quoted: false``, ``columns: [id, text]`` (or a header of
their own), ``audio: id`` and ``audio_path: wavs/{audio}.wav``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from assets.corpora.delimited import Delimited, rows_of_table
from assets.corpora.options import ReaderOptions
from assets.corpora.recordings import Recordings
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import InRoot, ListOptions, RowError
from assets.corpora.utterance import COMMON_FIELDS, Row, Utterance

_PLACE = "{audio}"
_Column = Annotated[str, Field(min_length=1)]


class TableOptions(ListOptions):
    """The file, how it is written, and its columns by name.

    Attributes:
        file: The table.
        audio: Column of the audio's path, relative to the root.
        text: Column of what is said.
        speaker: Column of who speaks; without it ``speaker_name`` does.
        language: Column of the language; without it, and where the cell is empty, it is the corpus' own.
        id: Column of the id; without it the cell of the audio is the id.
        fields: Further columns that split rules may use.
        columns: All columns, in order, of a file without a header.
        delimiter: One character.
        quoted: Whether ``"`` around a cell is no part of it.
        comment: What lines begin with that are no rows.
        audio_path: The path of the audio, ``{audio}`` standing for the cell.
    """

    file: InRoot
    audio: _Column
    text: _Column
    speaker: _Column | None = None
    language: _Column | None = None
    id: _Column | None = None
    fields: tuple[_Column, ...] = ()
    columns: tuple[_Column, ...] | None = None
    delimiter: str = ","
    quoted: bool = True
    comment: str | None = Field(default=None, min_length=1)
    audio_path: str = _PLACE
    speaker_name: str = Field(default="unknown", min_length=1)

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str) -> str:
        if len(delimiter) != 1 or delimiter in '"\r\n ':
            raise ValueError(
                'allowed is one character that is no quote, space or line end; a tab is written "\\t"'
            )
        return delimiter

    @field_validator("audio_path")
    @classmethod
    def _has_place(cls, path: str) -> str:
        if path.count(_PLACE) != 1:
            raise ValueError(f"needs {_PLACE} once")
        return path

    @model_validator(mode="after")
    def _consistent(self) -> TableOptions:
        if self.speaker is not None and "speaker_name" in self.model_fields_set:
            raise ValueError("allowed is either speaker or speaker_name, not both")
        if clash := sorted(set(self.fields) & set(COMMON_FIELDS)):
            raise ValueError(f"fields: {clash} are names that every reader gives")
        if self.columns is not None:
            if len(set(self.columns)) != len(self.columns):
                raise ValueError(f"columns: a name stands twice in {list(self.columns)}")
            if missing := [name for name in self.mapped() if name not in self.columns]:
                raise ValueError(f"columns lack {missing}; they are {list(self.columns)}")
        return self

    def mapped(self) -> tuple[str, ...]:
        """The columns that the table must have."""
        named = (self.audio, self.text, self.speaker, self.language, self.id, *self.fields)
        return tuple(dict.fromkeys(name for name in named if name is not None))

    def wanted(self) -> str:
        """The table's rows."""
        return f"rows with {', '.join(self.mapped())} in {self.file}"

    def required_files(self) -> tuple[str, ...]:
        """The table."""
        return (self.file,)

    def field_names(self) -> frozenset[str]:
        """The columns under ``fields``."""
        return frozenset(self.fields)


def read_table(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the table, then audio that it does not name.

    Raises:
        ConfigurationError: if the header names a column twice or lacks one that the options name.
    """
    assert isinstance(options, TableOptions)
    form = Delimited(options.delimiter, options.quoted, options.comment, options.columns)
    recordings = Recordings(root, options.unlisted == "report")

    def make(cells: dict[str, str], source: str) -> Utterance:
        return _row(cells, source, options)

    yield from map(recordings.without, rows_of_table(root, options.file, form, options.mapped(), make))
    yield from recordings.rows(f"no row of {options.file}")


def _row(cells: dict[str, str], source: str, options: TableOptions) -> Utterance:
    named = cells[options.audio]
    utterance_id = cells[options.id] if options.id else named
    if not named or not utterance_id:
        raise RowError("malformed_row", f"column {options.audio if not named else options.id!r} is empty")
    speaker = cells[options.speaker] if options.speaker else options.speaker_name
    language = cells[options.language] if options.language else ""
    audio = options.audio_path.replace(_PLACE, named.removeprefix(options.strip_prefix))
    fields = {name: cells[name] for name in options.fields}
    return Utterance(
        utterance_id,
        source,
        audio,
        cells[options.text],
        speaker or "unknown",
        language or None,
        fields=fields,
    )
