"""Rows of a reader as rows of ``raw_utterances``, a batch at a time, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, cast

from assets.audio.raw_format import is_raw_name
from assets.corpora.config import CorpusEntry
from assets.corpora.conversation import SPECIAL_TOKEN
from assets.corpora.firsts import Firsts
from assets.corpora.row_metadata import metadata_of
from assets.corpora.sources import Located, is_text
from assets.corpora.split import Split, split_of
from assets.corpora.utterance import Row, SourceProblem, Utterance
from validation.tasks import WITHOUT_TEXT

_LATEST_S = 1e9  # of any segment: thirty years


class TableRows:
    """Makes the table's rows; remembers what must differ (ids) and what must agree (a conversation's split).

    An id belongs to one source line, and so does a conversation: two lines of one id would become one training row,
    with the messages of one and the audio of both.
    """

    def __init__(self, entry: CorpusEntry) -> None:
        self._entry = entry
        self._named = entry.metadata.fields()
        self._defaults = {"topic": entry.topic, "licence": entry.licence, "consent": entry.consent}
        self._stack = ExitStack()
        self._ids = self._stack.enter_context(Firsts())
        self._conversations = self._stack.enter_context(Firsts())

    def __enter__(self) -> TableRows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def make(
        self, rows: Sequence[Row], located: Sequence[Located | SourceProblem | None]
    ) -> list[dict[str, Any] | SourceProblem]:
        """For each row the table's row, or why there is none."""
        made: list[dict[str, Any] | SourceProblem | None] = [_unwritable(row) for row in rows]
        left = self._first_of_their_names(rows, made)
        for index, split in left.items():
            row, found = rows[index], located[index]
            assert isinstance(row, Utterance)
            fault = found if isinstance(found, SourceProblem) else _segment_fault(row) or _text_fault(row)
            # What a link leads to may have any name.
            made[index] = (
                _writable(fault)
                if fault
                else self._row(row, split, found if isinstance(found, Located) else None)
            )
        return [one for one in made if one is not None]

    def _first_of_their_names(
        self, rows: Sequence[Row], made: list[dict[str, Any] | SourceProblem | None]
    ) -> dict[int, Split]:
        """The split of each row that no other line has the name of; ``made`` gets a problem for those that one has."""
        written = {
            index: row for index, row in enumerate(rows) if made[index] is None and isinstance(row, Utterance)
        }
        splits = {index: split_of(row, self._entry.split) for index, row in written.items()}
        firsts = self._ids.of([(row.utterance_id, row.source, "") for row in written.values()])
        talks: dict[int, str] = {}
        for (index, row), (_, source, _) in zip(written.items(), firsts, strict=True):
            if source != row.source:
                made[index] = _duplicate(row, row.utterance_id, source)
            elif row.conversation_id is not None:
                talks[index] = row.conversation_id
        # A conversation is one training row: all of it is held out, or nothing, whatever field a rule looks at.
        named = [(talk, written[index].source, splits[index]) for index, talk in talks.items()]
        for index, (talk, source, split) in zip(talks, self._conversations.of(named), strict=True):
            splits[index] = cast("Split", split)
            if source != written[index].source:
                made[index] = _duplicate(written[index], talk, source)
        return {index: split for index, split in splits.items() if made[index] is None}

    def _row(self, row: Utterance, split: Split, located: Located | None) -> dict[str, Any]:
        return {
            "corpus": self._entry.name,
            "utterance_id": row.utterance_id,
            "source": row.source,
            "split": split,
            "tasks": list(row.tasks or self._entry.tasks),
            "speaker": row.speaker,
            "language": row.language or self._entry.language,
            "text": row.text,
            "audio_uri": located and located.uri,
            "segment_start_s": row.segment_start_s,
            "segment_end_s": row.segment_end_s,
            "channel": None,
            "parent_id": None,
            "cut_in_speech": False,
            "raw_format": self._raw_format(row),
            "audio_offset": located and located.offset,
            "audio_bytes": located and located.size,
            "source_digest": located and located.digest,
            "conversation_id": row.conversation_id,
            "marker": row.marker,
            "messages": row.messages,
            **metadata_of(row, self._named, self._defaults),
        }

    def _raw_format(self, row: Utterance) -> str | None:
        if row.raw_format is not None:
            return str(row.raw_format)
        return self._entry.raw_format if row.audio is not None and is_raw_name(row.audio) else None


def _unwritable(row: Row) -> SourceProblem | None:
    """The row's problem, if it is one or has names that no file can be written with."""
    if isinstance(row, SourceProblem):
        return _writable(row)
    names = (row.utterance_id, row.source, row.audio or "", row.conversation_id or "")
    if is_text(*names, row.text, row.speaker):
        return None
    detail = f"{row.source}: the name is not UTF-8"
    return _writable(SourceProblem(row.utterance_id, row.source, "not_utf8", detail))


def _writable(problem: SourceProblem) -> SourceProblem:
    """The problem with the bytes that are no UTF-8 spelt out."""
    names = ("utterance_id", "source", "detail")
    spelt = {
        name: getattr(problem, name).encode("utf-8", "backslashreplace").decode("utf-8") for name in names
    }
    return replace(problem, **spelt)


def _duplicate(row: Utterance, named: str, earlier: str) -> SourceProblem:
    detail = f"{row.source}: id {named!r} stands at {earlier} already"
    return SourceProblem(row.utterance_id, row.source, "duplicate_id", detail)


def _segment_fault(row: Utterance) -> SourceProblem | None:
    """Why the row's segment is none, whatever the length of the recording."""
    start_s = 0.0 if row.segment_start_s is None else row.segment_start_s
    end_s = _LATEST_S if row.segment_end_s is None else row.segment_end_s
    if 0 <= start_s < end_s <= _LATEST_S:
        return None
    detail = (
        f"{row.source}: segment {start_s:.3f} s to {end_s:.3f} s of {row.audio!r:.200} is empty or reversed"
    )
    return SourceProblem(row.utterance_id, row.source, "bad_segment", detail, end_s, start_s)


def _text_fault(row: Utterance) -> SourceProblem | None:
    if row.messages is not None:
        return None  # its reader has checked the messages; a spoken question has no transcript
    if not row.text.strip():
        if row.tasks in WITHOUT_TEXT:
            return None
        return SourceProblem(row.utterance_id, row.source, "empty_text", f"{row.source}: the text is empty")
    token = SPECIAL_TOKEN.search(row.text)
    if token is not None:
        detail = f"{row.source}: the text holds {token[0]!r}, which a tokenizer takes for a control token"
        return SourceProblem(row.utterance_id, row.source, "special_token_in_text", detail)
    return None
