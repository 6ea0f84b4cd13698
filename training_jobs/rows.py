"""One training row to token ids and labels (DESIGN §4).

A turn is ``<|im_start|>role\\n … <|im_end|>\\n``; labels cover an assistant's content and its ``<|im_end|>\\n``.
An audio is ``<|begin_of_audio|>``, its ``<|audio_i|>``, ``<|end_of_audio|>``; an assistant's text and audio are
interleaved by ratio.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from models import interleave
from validation.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

IGNORED = -100  # the label of a position without a loss, as torch's cross entropy has it
AUDIO_MARKER = "<|audio|>"
SPEAK_INSTRUCTION = "Convert the text to speech.\n"
# Text and audio counts in turn, the markers among the audio; upstream's (DESIGN §4), where no stage says otherwise.
INTERLEAVING_RATIO = (1, 10, 4, 10)
ROLES = ("system", "user", "assistant")
_AUDIO_NAME = re.compile(r"<\|audio_(\d+)\|>")


class RowError(UserError):
    """A row that cannot be turned into tokens; names the message, the value and what is allowed."""


@dataclass(frozen=True)
class Turn:
    """Token ids of one turn: who speaks, and what with its end; the latter is learnt where it is the assistant's."""

    head: list[int]
    body: list[int]
    is_learnt: bool


@dataclass(frozen=True)
class Vocabulary:
    """The ids that rows are framed with."""

    im_start: int
    im_end: int
    begin_of_audio: int
    end_of_audio: int
    first_audio: int
    audio_codes: int
    newline: tuple[int, ...]

    def audio_ids(self, numbers: Sequence[int], marker: int) -> list[int]:
        """Vocabulary ids of one audio's token numbers.

        Raises:
            RowError: if a number is outside the codebook; ``marker`` says of which audio of the row.
        """
        for number in numbers:
            if not 0 <= number < self.audio_codes:
                raise RowError(
                    f"audio {marker}: token {number} is outside the text tokenizer's {self.audio_codes} audio "
                    f"tokens (0 to {self.audio_codes - 1}): it was made by another audio tokenizer"
                )
        return [self.first_audio + number for number in numbers]


def vocabulary_of(tokenizer: PreTrainedTokenizerFast) -> Vocabulary:
    """The framing ids of a text tokenizer that has been extended for audio.

    Raises:
        RowError: naming a special token that is missing, or audio tokens that do not follow one another.
    """
    # The length is part of the key, because tokens may be added to a tokenizer after its first use.
    return _vocabulary(tokenizer, len(tokenizer))


@lru_cache(maxsize=8)
def _vocabulary(tokenizer: PreTrainedTokenizerFast, _length: int) -> Vocabulary:
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    audio = {
        int(found[1]): index for name, index in vocabulary.items() if (found := _AUDIO_NAME.fullmatch(name))
    }
    needed = ("<|im_start|>", "<|im_end|>", "<|begin_of_audio|>", "<|end_of_audio|>", "<|audio_0|>")
    if missing := [name for name in needed if name not in vocabulary]:
        raise RowError(f"the text tokenizer lacks {missing}; extend it with models.extend_text_tokenizer")
    if any(audio.get(number) != audio[0] + number for number in range(len(audio))):
        raise RowError(f"the text tokenizer's {len(audio)} <|audio_i|> tokens do not follow one another")
    return Vocabulary(
        im_start=vocabulary["<|im_start|>"],
        im_end=vocabulary["<|im_end|>"],
        begin_of_audio=vocabulary["<|begin_of_audio|>"],
        end_of_audio=vocabulary["<|end_of_audio|>"],
        first_audio=audio[0],
        audio_codes=len(audio),
        newline=tuple(_text_ids(tokenizer, "\n")),
    )


def encode_row(
    messages: Sequence[Mapping[str, str]],
    audio_tokens: Sequence[Sequence[int]],
    tokenizer: PreTrainedTokenizerFast,
    ratio: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Token ids and labels of a whole row, equally long; labels are -100 where there is no loss.

    Args:
        messages: Turns with ``role`` and ``content``.
        audio_tokens: Audio token numbers, one list per ``<|audio|>`` marker, in the markers' order.
        tokenizer: A fast tokenizer extended by ``models.extend_text_tokenizer``.
        ratio: Text and audio counts in turn; the audio counts include the two marker tokens.

    Raises:
        RowError: for an unknown role, a marker without an audio (or the reverse), or an audio token out of range.
    """
    return joined(encode_turns(messages, audio_tokens, tokenizer, ratio))


def joined(turns: Sequence[Turn]) -> tuple[list[int], list[int]]:
    """Token ids and labels of the turns one after another."""
    input_ids: list[int] = []
    labels: list[int] = []
    for turn in turns:
        input_ids += turn.head + turn.body
        labels += [IGNORED] * len(turn.head) + (turn.body if turn.is_learnt else [IGNORED] * len(turn.body))
    return input_ids, labels


def encode_prompt(
    messages: Sequence[Mapping[str, str]],
    audio_tokens: Sequence[Sequence[int]],
    tokenizer: PreTrainedTokenizerFast,
    ratio: Sequence[int] = INTERLEAVING_RATIO,
) -> list[int]:
    """Token ids of the turns given, followed by ``<|im_start|>assistant\\n``: what a reply is generated from.

    ``ratio`` matters only where the turns hold an assistant's earlier replies.

    Raises:
        RowError: as :func:`encode_row`.
    """
    vocabulary = vocabulary_of(tokenizer)
    turns = encode_turns(messages, audio_tokens, tokenizer, ratio)
    return joined(turns)[0] + _head("assistant", vocabulary, tokenizer)


def encode_turns(
    messages: Sequence[Mapping[str, str]],
    audio_tokens: Sequence[Sequence[int]],
    tokenizer: PreTrainedTokenizerFast,
    ratio: Sequence[int],
) -> list[Turn]:
    """A row's turns, each by itself.

    Raises:
        RowError: as :func:`encode_row`.
    """
    vocabulary = vocabulary_of(tokenizer)
    markers = sum(message["content"].count(AUDIO_MARKER) for message in messages)
    if markers != len(audio_tokens):
        raise RowError(f"{markers} {AUDIO_MARKER} markers in the messages, but {len(audio_tokens)} audios")
    audios = [vocabulary.audio_ids(numbers, marker) for marker, numbers in enumerate(audio_tokens)]
    turns = []
    for number, message in enumerate(messages):
        role, content = message["role"], message["content"]
        if role not in ROLES:
            raise RowError(f"message {number} has the role {role!r}; allowed are {list(ROLES)}")
        here, audios = audios[: content.count(AUDIO_MARKER)], audios[content.count(AUDIO_MARKER) :]
        if role == "assistant":
            spoken = _text_to_speak(messages[number - 1] if number else None, content)
            body = _assistant_ids(spoken + content, here, vocabulary, tokenizer, ratio)
        else:
            body = _given_ids(content, here, vocabulary, tokenizer)
        end = [vocabulary.im_end, *vocabulary.newline]
        turns.append(Turn(_head(role, vocabulary, tokenizer), body + end, role == "assistant"))
    return turns


def _head(role: str, vocabulary: Vocabulary, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    return [vocabulary.im_start, *_text_ids(tokenizer, role), *vocabulary.newline]


def _text_to_speak(previous: Mapping[str, str] | None, reply: str) -> str:
    """The text that a bare spoken reply speaks, where the turn before asks for it word by word; else empty."""
    if previous is None or reply.strip() != AUDIO_MARKER or AUDIO_MARKER in previous["content"]:
        return ""
    asked = previous["content"]
    return asked.removeprefix(SPEAK_INSTRUCTION) if asked.startswith(SPEAK_INSTRUCTION) else ""


def _given_ids(
    content: str, audios: list[list[int]], vocabulary: Vocabulary, tokenizer: PreTrainedTokenizerFast
) -> list[int]:
    texts = content.split(AUDIO_MARKER)
    ids = _text_ids(tokenizer, texts[0])
    for audio, text in zip(audios, texts[1:], strict=True):
        ids += [vocabulary.begin_of_audio, *audio, vocabulary.end_of_audio, *_text_ids(tokenizer, text)]
    return ids


def _assistant_ids(
    content: str,
    audios: list[list[int]],
    vocabulary: Vocabulary,
    tokenizer: PreTrainedTokenizerFast,
    ratio: Sequence[int],
) -> list[int]:
    """Each audio is interleaved with the text in front of it; text behind the last one belongs to it too."""
    texts = [_text_ids(tokenizer, text) for text in content.split(AUDIO_MARKER)]
    if audios:
        behind = texts.pop()
        texts[-1] += behind
    ids: list[int] = []
    for index, text in enumerate(texts):
        audio = audios[index] if audios else []
        ids += interleave(text, audio, ratio, vocabulary.begin_of_audio, vocabulary.end_of_audio)
    return ids


def _text_ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    # split_special_tokens: a transcript that happens to spell <|im_end|> is text, and must not end the turn.
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids
