"""What a text tokenizer's file says of its vocabulary, read without the tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.tensor_files import read_json
from validation.errors import UserError

TOKENIZER_FILE = "tokenizer.json"
_NEEDED = ("<|im_start|>", "<|im_end|>")


class VocabularyError(UserError):
    """A tokenizer's file that cannot be used; names it and what is wrong."""


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer's size.

    Attributes:
        tokens: one more than the highest id.
        audio_codes: tokens ``<|audio_0|>``, ``<|audio_1|>``, … with consecutive ids.
        first_audio: id of ``<|audio_0|>``; ``None`` without any.
    """

    tokens: int
    audio_codes: int
    first_audio: int | None


def vocabulary_of(directory: Path) -> Vocabulary:
    """The vocabulary of the tokenizer in a checkpoint's directory.

    Raises:
        VocabularyError: if it is not there, has not the control tokens of the chat format, or numbers its audio tokens
            in another order.
        models.errors.CheckpointError: if the file is not JSON.
    """
    path = directory / TOKENIZER_FILE
    if not path.is_file():
        raise VocabularyError(
            f"{directory} has no {TOKENIZER_FILE}: the text tokenizer belongs to the weights"
        )
    try:
        ids = _ids(read_json(path))
    except (KeyError, TypeError, ValueError) as error:
        raise VocabularyError(f"{path} is no tokenizer with a vocabulary: {error!r}") from error
    if lacking := [token for token in _NEEDED if token not in ids]:
        raise VocabularyError(f"{path} lacks {lacking}, which the chat format needs")
    first = ids.get(_audio(0))
    codes = 0
    while first is not None and (number := ids.get(_audio(codes))) is not None:
        if number != first + codes:
            raise VocabularyError(f"{path}: {_audio(codes)} is {number}; wanted is {first + codes}, in order")
        codes += 1
    return Vocabulary(max(ids.values()) + 1, codes, first)


def _ids(tokenizer: dict[str, Any]) -> dict[str, int]:
    ids = {str(token): int(number) for token, number in tokenizer["model"]["vocab"].items()}
    return ids | {str(token["content"]): int(token["id"]) for token in tokenizer["added_tokens"]}


def _audio(code: int) -> str:
    return f"<|audio_{code}|>"
