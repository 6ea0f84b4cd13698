"""Reader ``huggingface``: datasets on disk, as Parquet (downloaded) or Arrow (``save_to_disk``), with audio columns.

The audio lies in the file itself, row for row, or is a path. With ``answer`` a row is a question that is heard and a
reply: a conversation, like a line of ``jsonl``. What ``map`` and ``filter`` left beside a saved dataset
(``cache-*.arrow``) is none of it.

Rows are read by Arrow, which takes the columns of text without the audio beside them, from any file system and within
the root, and without the copy that ``datasets`` makes in its cache. What only ``datasets`` knows, the names of classes
that its metadata hold, it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from posixpath import basename, dirname, join
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, model_validator

from assets.audio.column_names import is_columnar, value_name
from assets.audio.columns import ColumnFile, holds_recordings
from assets.audio.members import member_name
from assets.audio.problem import AudioFaultError
from assets.corpora.conversation import AUDIO_MARKER, Message, MessagesError, checked_messages, dump_json
from assets.corpora.options import ReaderOptions
from assets.corpora.recordings import Recordings
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import ListOptions, RowError
from assets.corpora.utterance import COMMON_FIELDS, Row, SourceProblem, Utterance
from validation.errors import ConfigurationError

if TYPE_CHECKING:
    import pyarrow as pa

_CLASSES = "ClassLabel"
_Column = Annotated[str, Field(min_length=1)]


class HuggingFaceOptions(ListOptions):
    """Which files are read, and which of their columns say what.

    Attributes:
        files: A pattern of their paths below the root, such as ``data/train-*``; ``*`` stands for folders too.
        audio: Column of the audio; without it, the only one that has any.
        text: Column of what is said.
        answer: Column of the reply's text, where the audio is a question.
        answer_audio: Column of the reply's audio.
        speaker: Column of who speaks.
        language: Column of the language; without it, and where it is empty, it is the corpus' own.
        id: Column of the id; without it, file and row are the id.
        fields: Further columns that split rules may use.
    """

    files: str = "*"
    audio: _Column | None = None
    text: _Column | None = None
    answer: _Column | None = None
    answer_audio: _Column | None = None
    speaker: _Column | None = None
    language: _Column | None = None
    id: _Column | None = None
    fields: tuple[_Column, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> HuggingFaceOptions:
        if self.text is None and self.answer is None:
            raise ValueError(
                "text: the column of what is said, or answer: that of the reply to it, must be named"
            )
        if self.answer is None and self.answer_audio is not None:
            raise ValueError("answer_audio: the column of the reply's text, answer, must be named too")
        if clash := sorted(set(self.fields) & {*COMMON_FIELDS, "file"}):
            raise ValueError(f"fields: {clash} are names that this reader gives")
        return self

    def wanted(self) -> str:
        """The files' rows."""
        return f"rows of Parquet or Arrow files {self.files!r}"

    def sets_tasks(self) -> bool:
        """Conversations do."""
        return self.answer is not None

    def field_names(self) -> frozenset[str]:
        """``file``: the path below the root; and the columns under ``fields``."""
        return frozenset({"file", *self.fields})

    def texts(self) -> tuple[str, ...]:
        """The columns that are read as text."""
        named = (self.text, self.answer, self.speaker, self.language, self.id, *self.fields)
        return tuple(dict.fromkeys(name for name in named if name is not None))


def read_huggingface(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the files, then audio files that no row names.

    Raises:
        ConfigurationError: if a file has several columns of audio and the options name none.
    """
    assert isinstance(options, HuggingFaceOptions)
    recordings = Recordings(root, options.unlisted == "report")
    for name in root.files:
        if is_columnar(name) and fnmatchcase(name, options.files) and not is_cache(root, name):
            fault = root.text_fault(name)
            if fault is not None:
                yield fault
                continue
            try:
                with root.open(name) as stream:
                    for row in _File(root, name, ColumnFile(stream), options).rows():
                        yield recordings.without(row)
            except OSError as error:
                yield SourceProblem(name, name, "unreadable", f"{name}: cannot be read to its end: {error}")
            except AudioFaultError as error:
                problem = error.problem
                detail = f"{name}: {problem.detail}"
                yield SourceProblem(name, name, problem.reason, detail, problem.value, problem.limit)
            except RowError as error:
                yield error.at(name)
    yield from recordings.rows("no row")


class _File:
    """One file, with what its schema says of the columns."""

    def __init__(self, root: CorpusRoot, name: str, file: ColumnFile, options: HuggingFaceOptions) -> None:
        self._root = root
        self._name = name
        self._file = file
        self._options = options
        self._audio = options.audio or self._only_audio()
        self._labels = labels_of(file.schema)
        named = (self._audio, *options.texts(), *filter(None, [options.answer_audio]))
        if missing := sorted(set(named) - set(file.schema.names)):
            raise RowError("malformed_row", f"lacks the columns {missing}; there are {file.schema.names}")

    def rows(self) -> Iterator[Row]:
        """One row per row, or two where the reply is heard too."""
        audios = [self._audio, *filter(None, [self._options.answer_audio])]
        # Where all bytes are there, they are not read here: only who locates the audio reads them.
        parts = [name if not self._file.has_all_bytes(name) else None for name in audios]
        columns = list(dict.fromkeys([*self._options.texts(), *filter(None, parts)]))
        for batch in self._file.batches(columns):
            texts = {name: batch.rows.column(name) for name in self._options.texts()}
            paths = [None if part is None else batch.rows.column(part) for part in parts]
            for index in range(batch.rows.num_rows):
                number = batch.first + index
                source = f"{self._name}:{number}"
                try:
                    cells = {name: self._cell(name, values[index]) for name, values in texts.items()}
                    named = [
                        self._located(column, number, None if values is None else values[index])
                        for column, values in zip(audios, paths, strict=True)
                    ]
                    yield from self._utterances(cells, named, source)
                except RowError as error:
                    yield error.at(source)

    def _utterances(self, cells: dict[str, str], audios: list[str | None], source: str) -> Iterator[Row]:
        options = self._options
        utterance_id = cells[options.id] if options.id else source
        if not utterance_id:
            raise RowError("malformed_row", f"column {options.id!r} is empty")
        if None in audios:
            raise RowError("missing_audio", "there are neither bytes nor a path", utterance_id=utterance_id)
        speaker = (cells[options.speaker] if options.speaker else "") or "unknown"
        language = (cells[options.language] if options.language else "") or None
        text = cells[options.text] if options.text else ""
        fields = {"file": self._name, **{name: cells[name] for name in options.fields}}
        if options.answer is None:
            yield Utterance(utterance_id, source, audios[0], text, speaker, language, fields=fields)
            return
        answer = cells[options.answer]
        reply = answer if options.answer_audio is None else f"{answer}\n{AUDIO_MARKER}"
        messages: list[Message] = [
            {"role": "user", "content": AUDIO_MARKER},
            {"role": "assistant", "content": reply},
        ]
        try:
            told = dump_json(checked_messages(messages))
        except MessagesError as error:
            raise RowError("malformed_row", str(error), utterance_id=utterance_id) from error
        for marker, (audio, said) in enumerate(zip(audios, (text, answer), strict=False)):
            yield Utterance(
                f"{utterance_id}#{marker}",
                source,
                audio,
                said,
                # The speaker is the one who asks.
                speaker if marker == 0 else "unknown",
                language,
                ("conversation",),
                conversation_id=utterance_id,
                marker=marker,
                messages=told,
                fields=fields,
            )

    def _located(self, column: str, number: int, value: Any) -> str | None:
        """The audio as rows name it: in the file, or a file of its own; ``None`` where there is neither."""
        embedded = member_name(self._name, value_name(column, number))
        if value is None:
            return embedded
        found = _value(column, value)
        if isinstance(found, dict):
            if found["bytes"] is not None:
                return embedded
            found = found["path"]
        elif isinstance(found, bytes):
            return embedded
        if not found or not isinstance(found, str):
            return None
        path = found.removeprefix(self._options.strip_prefix)
        beside = join(dirname(self._name), path)
        return beside if beside in self._root.files else path

    def _cell(self, column: str, scalar: Any) -> str:
        value = _value(column, scalar)
        if value is None:
            return ""
        if column in self._labels and isinstance(value, int) and 0 <= value < len(self._labels[column]):
            return self._labels[column][value]
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, int | float) and column not in (self._options.text, self._options.answer):
            return str(value)
        raise RowError("malformed_row", f"column {column!r} must be text, got {value!r:.80}")

    def _only_audio(self) -> str:
        found = audio_columns(self._file.schema)
        if len(found) != 1:
            raise ConfigurationError(
                f"{self._root.uri(self._name)}: {len(found)} columns hold audio: {found}; say which under "
                f"options.audio (the columns are {self._file.schema.names})"
            )
        return found[0]


def _value(column: str, scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:  # Parquet's readers do not look
        raise RowError("not_utf8", f"column {column!r} is not UTF-8: {error}") from error


def is_cache(root: CorpusRoot, name: str) -> bool:
    """Whether ``datasets`` made the file for itself beside a dataset that it saved: such a copy is none of its data."""
    return basename(name).startswith("cache-") and join(dirname(name), "state.json") in root.files


def audio_columns(schema: pa.Schema) -> list[str]:
    """The columns that hold audio."""
    return [field.name for field in schema if holds_recordings(field.type)]


def labels_of(schema: pa.Schema) -> dict[str, list[str]]:
    """The names of the values of columns that hold numbers of classes, as Hugging Face's metadata state them.

    Raises:
        RowError: if the metadata are none of Hugging Face's.
    """
    stated = (schema.metadata or {}).get(b"huggingface")
    if stated is None:
        return {}
    try:
        features = ((json.loads(stated).get("info") or {}).get("features") or {}).items()
        # Only these: the library makes whatever class the metadata name.
        classes = {
            name: kind for name, kind in features if isinstance(kind, dict) and kind.get("_type") == _CLASSES
        }
        if not classes:
            return {}
        import datasets  # takes over a second, and most corpora have another layout

        return {name: kind.names for name, kind in datasets.Features.from_dict(classes).items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RowError(
            "malformed_row", f"its metadata of Hugging Face cannot be read: {error!r:.200}"
        ) from error
