"""Training rows as messages (DESIGN §4): building them, checking them, and telling what they teach."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, TypedDict

from validation.errors import UserError
from validation.schemas import RowTask

AUDIO_MARKER = "<|audio|>"
ASR_PROMPT = "Convert the speech to text.\n"
TTS_PROMPT = "Convert the text to speech.\n"

# What a tokenizer would take for a control token. In a transcript it would end a turn or stand for an audio.
SPECIAL_TOKEN = re.compile(r"<\|[^|<>\s]+\|>")
_ROLES = ("system", "user", "assistant")


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


class MessagesError(UserError):
    """Messages that are not those of a training row; says which one, and what is allowed."""


def asr_messages(text: str) -> list[Message]:
    """Speech in, text out; one audio."""
    return [{"role": "user", "content": ASR_PROMPT + AUDIO_MARKER}, {"role": "assistant", "content": text}]


def tts_messages(text: str) -> list[Message]:
    """Text in, speech out; one audio."""
    return [{"role": "user", "content": TTS_PROMPT + text}, {"role": "assistant", "content": AUDIO_MARKER}]


def dump_json(value: Any) -> str:
    """JSON on one line, as all training rows are written: no spaces, characters as themselves."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def checked_messages(value: Any) -> list[Message]:
    """The messages, if they are a conversation that ends with an assistant's turn.

    Raises:
        MessagesError: naming the message and what is allowed.
    """
    if not isinstance(value, list) or not value:
        raise MessagesError(f"messages must be a list with at least one message, got {value!r:.80}")
    messages: list[Message] = []
    for index, one in enumerate(value):
        if not isinstance(one, dict) or set(one) != {"role", "content"}:
            raise MessagesError(f"message {index} must have just role and content, got {one!r:.80}")
        if one["role"] not in _ROLES:
            raise MessagesError(
                f"message {index} has the role {one['role']!r}; allowed are {', '.join(_ROLES)}"
            )
        if not isinstance(one["content"], str):
            raise MessagesError(f"message {index} has a content that is no string: {one['content']!r:.80}")
        tokens = set(SPECIAL_TOKEN.findall(one["content"])) - {AUDIO_MARKER}
        if tokens:
            raise MessagesError(
                f"message {index} holds {sorted(tokens)}; the only token allowed is {AUDIO_MARKER}"
            )
        messages.append({"role": one["role"], "content": one["content"]})
    if messages[-1]["role"] != "assistant":
        raise MessagesError(
            f"the last message has the role {messages[-1]['role']!r}; it must be the assistant's"
        )
    if not messages[-1]["content"].strip():
        raise MessagesError("the last message, the assistant's, is empty")
    return messages


def count_markers(messages: Sequence[Message]) -> int:
    """Number of audios that the messages want."""
    return sum(message["content"].count(AUDIO_MARKER) for message in messages)


def task_of(messages: Sequence[Message]) -> RowTask:
    """``asr`` and ``tts`` are the rows that this project writes for them; ``text`` has no audio at all."""
    if not count_markers(messages):
        return "text"
    if [message["role"] for message in messages] == ["user", "assistant"]:
        asked, answered = messages[0]["content"], messages[1]["content"]
        if asked == ASR_PROMPT + AUDIO_MARKER and AUDIO_MARKER not in answered:
            return "asr"
        if asked.startswith(TTS_PROMPT) and AUDIO_MARKER not in asked and answered == AUDIO_MARKER:
            return "tts"
    return "conversation"


def spoken_texts(messages: Sequence[Message]) -> list[str]:
    """For each audio, in order, the text that is spoken in it as far as the messages say so, else an empty string.

    An ASR row's answer, a TTS row's request, and what stands before the one audio of an assistant's turn are
    transcripts; a spoken question has none.
    """
    task = task_of(messages)
    if task == "asr":
        return [messages[1]["content"]]
    if task == "tts":
        return [messages[0]["content"].removeprefix(TTS_PROMPT)]
    texts = []
    for message in messages:
        markers = message["content"].count(AUDIO_MARKER)
        before = message["content"].partition(AUDIO_MARKER)[0].strip()
        known = message["role"] == "assistant" and markers == 1
        texts += [before if known else ""] * markers
    return texts
