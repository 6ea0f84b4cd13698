"""Text out of tokens as they come, none of it taken back."""

from __future__ import annotations

from collections.abc import Callable

# What a decoder writes for bytes that are no character, or not yet: a byte-level tokenizer may split one over tokens.
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class TextPieces:
    """Detokenises a growing list of ids.

    A text that ends in :data:`REPLACEMENT` may end in the midst of a character, so that mark is held back until what
    follows settles it; all before it stands, because UTF-8 is read from left to right. The pieces, with :meth:`rest`,
    are together the text of all ids.

    Args:
        decode: the text of ids; it must not tidy up spaces. Only the ids since the last character that was whole
            before the newest are decoded again, so that a decoder which treats the first of its ids otherwise (as
            some do with its space) sees one before.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        # What is decoded again, how many ids of it were whole before, and how much of its text has been given.
        self._ids: list[int] = []
        self._whole = 0
        self._given = 0

    def push(self, token: int) -> str:
        """What the next id adds; often empty."""
        self._ids.append(token)
        text = self._decode(self._ids)
        if text.endswith(REPLACEMENT):
            return self._give(text[: -len(REPLACEMENT)])
        piece = self._give(text)
        del self._ids[: self._whole]
        self._whole = len(self._ids)
        self._given = len(self._decode(self._ids))
        return piece

    def rest(self) -> str:
        """What is still held back, after the last id."""
        return self._give(self._decode(self._ids))

    def _give(self, text: str) -> str:
        piece = text[self._given :]
        self._given = max(self._given, len(text))
        return piece
