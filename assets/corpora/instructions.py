"""Reader ``instructions``: text-only conversations, one JSON object per line, in any of three forms.

``instruction``, ``input`` and ``output`` (with ``system`` and ``history``, pairs of earlier turns, if there are any);
``messages`` with ``role`` and ``content``; or ShareGPT's ``conversations`` with ``from`` and ``value``. Other keys are
not read. Audio belongs to reader ``jsonl``.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from assets.corpora.conversation import Message, MessagesError, checked_messages, count_markers, dump_json
from assets.corpora.options import JsonLinesOptions, ReaderOptions
from assets.corpora.root import CorpusRoot
from assets.corpora.rows import RowError, json_object, rows_of_lines, string_of
from assets.corpora.utterance import Row, Utterance

_FORMS = ("instruction", "messages", "conversations")
_ROLE_OF = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}


class InstructionsOptions(JsonLinesOptions):
    """Which files are read."""

    def field_names(self) -> frozenset[str]:
        """``file``: the path below the root; ``form``: ``instruction``, ``messages`` or ``conversations``."""
        return frozenset({"file", "form"})


def read_instructions(root: CorpusRoot, options: ReaderOptions) -> Iterator[Row]:
    """Rows in the order of the files and lines."""
    assert isinstance(options, InstructionsOptions)
    for name in root.files:
        if fnmatchcase(name, options.files):

            def make(line: str, source: str, name: str = name) -> Utterance:
                return _row(line, source, name)

            yield from rows_of_lines(root, name, make)


def _row(line: str, source: str, name: str) -> Utterance:
    value = json_object(line)
    forms = [form for form in _FORMS if form in value]
    if len(forms) != 1:
        raise RowError("malformed_row", f"wanted is one of the keys {', '.join(_FORMS)}; there are {forms}")
    given = value.get("id")
    row_id = str(given) if given or given == 0 else source
    try:
        messages = checked_messages(_messages(value, forms[0]))
    except (MessagesError, RowError) as error:
        raise RowError("malformed_row", str(error), utterance_id=row_id) from error
    if markers := count_markers(messages):
        detail = f"{markers} <|audio|> markers in a text-only row; rows with audio are read by jsonl"
        raise RowError("malformed_row", detail, utterance_id=row_id)
    return Utterance(
        utterance_id=row_id,
        source=source,
        audio=None,
        text=messages[-1]["content"],
        speaker="unknown",
        tasks=("text",),
        conversation_id=row_id,
        messages=dump_json(messages),
        fields={"file": name, "form": forms[0]},
    )


def _messages(value: dict[str, Any], form: str) -> Any:
    if form == "messages":
        return value["messages"]
    return _shared(value["conversations"]) if form == "conversations" else _instruction(value)


def _shared(turns: Any) -> list[Message]:
    if not isinstance(turns, list):
        raise MessagesError(f"conversations must be a list, got {turns!r:.80}")
    messages: list[Message] = []
    for index, turn in enumerate(turns):
        if not isinstance(turn, dict) or not {"from", "value"} <= set(turn):
            raise MessagesError(f"turn {index} must have from and value, got {turn!r:.80}")
        role = _ROLE_OF.get(str(turn["from"]))
        if role is None:
            raise MessagesError(f"turn {index} is from {turn['from']!r}; allowed are {', '.join(_ROLE_OF)}")
        messages.append({"role": role, "content": turn["value"]})
    return messages


def _instruction(value: dict[str, Any]) -> list[Message]:
    system = string_of(value, "system") if value.get("system") else ""
    asked = [string_of(value, name) for name in ("instruction", "input") if value.get(name)]
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    history = value.get("history") or []
    if not isinstance(history, list) or not all(_is_pair(turns) for turns in history):
        raise MessagesError(f"history must be a list of pairs of text, got {history!r:.80}")
    for question, answer in history:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    messages.append({"role": "user", "content": "\n".join(filter(None, asked))})
    messages.append({"role": "assistant", "content": string_of(value, "output")})
    return messages


def _is_pair(turns: Any) -> bool:
    return isinstance(turns, list) and len(turns) == 2 and all(isinstance(turn, str) for turn in turns)
