"""What a corpus states of its rows besides words and audio: topic, difficulty, licence, consent, and all else."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from assets.corpora.conversation import dump_json
from assets.corpora.utterance import Utterance
from validation.strict import Strict

_NAMED = ("topic", "difficulty", "licence", "consent")


class RowMetadata(Strict):
    """Which of the reader's fields say a row's topic, difficulty, licence and consent; an empty one says nothing."""

    topic: str | None = Field(default=None, min_length=1)
    difficulty: str | None = Field(default=None, min_length=1)
    licence: str | None = Field(default=None, min_length=1)
    consent: str | None = Field(default=None, min_length=1)

    def fields(self) -> dict[str, str]:
        """What is named: topic and so on, to the reader's field."""
        return {name: value for name in _NAMED if (value := getattr(self, name)) is not None}


def metadata_of(
    row: Utterance, named: Mapping[str, str], defaults: Mapping[str, str | None]
) -> dict[str, str | None]:
    """The columns ``topic``, ``difficulty``, ``licence``, ``consent`` and ``metadata`` of a row.

    Args:
        named: From :meth:`RowMetadata.fields`.
        defaults: What the corpus states of all its rows.
    """
    fields = {name: _text(value) for name, value in row.fields.items() if value}
    columns = {
        name: fields.get(named.get(name, "")) or _text(getattr(row, name) or "") or defaults.get(name)
        for name in _NAMED
    }
    return {**columns, "metadata": dump_json(dict(sorted(fields.items()))) if fields else None}


def _text(value: str) -> str:
    # A name need not be UTF-8, and JSON may hold half a character: nothing can be written with either.
    return value.encode("utf-8", "backslashreplace").decode("utf-8")
