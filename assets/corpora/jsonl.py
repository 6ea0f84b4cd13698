"""Reader ``jsonl``: training rows as DESIGN §4 has them, voxline's own output included.

Each ``<|audio|>`` of a line becomes an utterance ``<row id>#<marker>`` that the data steps treat like any other; a
line without audio becomes one utterance without. A line may have ``id``, ``speaker``, ``language``, ``topic``,
``difficulty``, ``licence``, ``consent``, ``metadata`` (an object of texts and numbers) and ``answers`` (texts that
are as right as the reply) besides ``messages`` and ``audios``. Empty lines are no rows. Audio that no line names
belongs to nobody and is not read: a root may hold much else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from assets.corpora.conversation import (
    MessagesError,
    checked_messages,
    count_markers,
    dump_json,
    spoken_texts,
)
from assets.corpora.options import JsonLinesOptions, ReaderOptions
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import places
from assets.corpora.utterance import Row, SourceProblem, Utterance

_STATED = ("topic", "difficulty", "licence", "consent")
_KEYS = frozenset({"messages", "audios", "id", "speaker", "language", "metadata", "answers", *_STATED})


class JsonlOptions(JsonLinesOptions):
    """Which files are read."""

    def field_names(self) -> frozenset[str]:
        """``file``: the path below the root; ``conversation_id``: the line's id, which all its audio shares."""
        return frozenset({"file", "conversation_id"})


def read_jsonl(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the files and lines."""
    assert isinstance(options, JsonlOptions)
    for name in root.files:
        if not fnmatchcase(name, options.files):
            continue
        for place in places(root, name):
            if isinstance(place, SourceProblem):
                yield place
            elif place[1].strip():
                yield from _rows(place[1], name, place[0])


def _rows(line: bytes, name: str, source: str) -> Iterator[Row]:
    row_id = f"{name.removesuffix('.jsonl')}{source.removeprefix(name)}"
    try:
        value = json.loads(line.decode("utf-8"))
        # JSON may hold half a character (a lone surrogate), which nothing can be written with.
        dump_json(value).encode()
        row_id = str(value.get("id") or row_id) if isinstance(value, dict) else row_id
        yield from _utterances(value, row_id, source, name)
    except UnicodeDecodeError as error:
        yield SourceProblem(row_id, source, "not_utf8", f"{source}: not UTF-8: {error}")
    except (ValueError, RecursionError) as error:
        yield SourceProblem(row_id, source, "malformed_row", f"{source}: {error}")


def _utterances(value: Any, row_id: str, source: str, name: str) -> list[Utterance]:
    if not isinstance(value, dict):
        raise MessagesError(f"the line must be a JSON object, got {value!r:.80}")
    if unknown := sorted(set(value) - _KEYS):
        raise MessagesError(f"unknown keys {unknown}; allowed are {', '.join(sorted(_KEYS))}")
    messages = checked_messages(value.get("messages"))
    audios = value.get("audios") or []
    if not isinstance(audios, list) or not all(isinstance(one, str) and one for one in audios):
        raise MessagesError(f"audios must be a list of paths, got {audios!r:.80}")
    wanted = count_markers(messages)
    if wanted != len(audios):
        raise MessagesError(f"{wanted} <|audio|> markers and {len(audios)} audios; the numbers must be equal")
    stated: dict[str, Any] = {key: str(value[key]) for key in _STATED if value.get(key)}
    row = Utterance(
        utterance_id=row_id,
        source=source,
        audio=None,
        text=messages[-1]["content"],
        speaker=str(value.get("speaker") or "unknown"),
        language=str(value["language"]) if value.get("language") else None,
        tasks=("text",),
        conversation_id=row_id,
        messages=dump_json(messages),
        fields={
            **_metadata(value.get("metadata")),
            **_answers(value.get("answers")),
            "file": name,
            "conversation_id": row_id,
        },
        **stated,
    )
    if not audios:
        return [row]
    return [
        replace(
            row,
            utterance_id=f"{row_id}#{marker}",
            audio=audio,
            text=text,
            tasks=("conversation",),
            marker=marker,
        )
        for marker, (audio, text) in enumerate(zip(audios, spoken_texts(messages), strict=True))
    ]


def _answers(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise MessagesError(f"answers must be a list of texts, got {value!r:.80}")
    return {"answers": dump_json(value)}


def _metadata(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(one, str | int | float) for one in value.values()):
        raise MessagesError(f"metadata must be an object of texts and numbers, got {value!r:.80}")
    return {key: str(one) for key, one in value.items()}
