"""What a reader yields: utterances and, for every row that is none, what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from assets.audio.raw_format import RawFormat
from validation.ledger import Reason
from validation.schemas import Task


@dataclass(frozen=True, slots=True)
class Utterance:
    """One row of a corpus as the corpus states it; nothing has been opened or checked yet.

    Attributes:
        source: Where the row stands, relative to the root: ``metadata.csv:12``, or the audio file.
        audio: The audio as the corpus names it, relative to the root (or absolute within it), a member of a tar as
            ``shard.tar!member/name.wav`` (:func:`assets.audio.members.member_name`); ``None`` for text rows.
        text: What is said in the audio, where the corpus says so.
        language: ``None``: the corpus' own.
        tasks: ``None``: those of the corpus' entry.
        segment_start_s: Where in the file the utterance lies, in seconds; ``None``: the whole file.
        raw_format: What the audio's samples are where it has no header; ``None``: what the corpus' entry declares for
            files named ``.raw`` or ``.pcm``.
        conversation_id: Shared by the rows of one JSONL row; ``messages`` is that row's messages, as JSON, and
            ``marker`` says which ``<|audio|>`` of it this audio stands for.
        fields: What split rules may ask for besides ``utterance_id``, ``speaker``, ``text`` and ``source``; those that
            are not empty stay with the row as its metadata.
        topic: What the row is about, where the layout says so; likewise ``difficulty``.
        licence: ``None``: the corpus' own; likewise ``consent``.
    """

    utterance_id: str
    source: str
    audio: str | None
    text: str
    speaker: str
    language: str | None = None
    tasks: tuple[Task, ...] | None = None
    segment_start_s: float | None = None
    segment_end_s: float | None = None
    raw_format: RawFormat | None = None
    conversation_id: str | None = None
    marker: int | None = None
    messages: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    topic: str | None = None
    difficulty: str | None = None
    licence: str | None = None
    consent: str | None = None

    def field_value(self, name: str) -> str:
        """The value that a split rule asks for.

        Raises:
            KeyError: if the reader gives no such field.
        """
        if name in COMMON_FIELDS:
            value = getattr(self, name)
            assert isinstance(value, str)
            return value
        return self.fields[name]


COMMON_FIELDS = ("utterance_id", "speaker", "text", "source")


@dataclass(frozen=True, slots=True)
class SourceProblem:
    """A row that is no utterance: it ends in the ledger.

    Attributes:
        detail: For a person: names the file, the row, the value and what is allowed.
    """

    utterance_id: str
    source: str
    reason: Reason
    detail: str
    value: float | None = None
    limit: float | None = None


Row = Utterance | SourceProblem
