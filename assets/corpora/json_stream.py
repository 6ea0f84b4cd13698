"""A JSON of gigabytes read as a stream: the elements of one of its lists, one at a time.

The standard library parses each element. Packaged streaming parsers name the place of each value by its path, which a
hostile file makes as long as it is: a hundred thousand brackets took them 25 GB.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import IO, Any

from assets.corpora.root import CorpusRoot
from assets.corpora.rows import RowError

# One recording with all its segments: a hundred hours of them fit, and a hostile file does not fill the memory.
MOST_ITEM_CHARACTERS = 32 << 20
_BLOCK_BYTES = 1 << 20
_SPACES = " \t\r\n"
_scan = json.JSONDecoder().raw_decode


def items_of(root: CorpusRoot, name: str, key: str) -> Iterator[tuple[str, Any | RowError]]:
    """Place (``X.json:audios.3``) and value of each element of the list ``key`` of the file's object, in its order.

    A fault stands in the place of an element that is not UTF-8. What keeps the rest from being read (no JSON, an
    element above :data:`MOST_ITEM_CHARACTERS`, a file that cannot be read) is the last value.
    """
    fault = root.text_fault(name)
    if fault is not None:
        yield name, RowError(fault.reason, fault.detail)
        return
    index = 0
    try:
        with root.open(name) as stream:
            for value in _elements(_Text(stream), key):
                yield f"{name}:{key}.{index}", value
                index += 1
    except RowError as error:
        yield f"{name}:{key}.{index}", error.with_consequence("what follows in the file is not read")
    except OSError as error:
        detail = f"cannot be read: {error}; what follows in the file is not read"
        yield f"{name}:{key}.{index}", RowError("unreadable", detail)


def _elements(text: _Text, key: str) -> Iterator[Any | RowError]:
    text.take("{")
    closing = text.take('"}', is_consumed=False)
    while closing != "}":
        name = text.value()
        text.take(":")
        if name == key:
            text.take("[")
            if text.take(None, is_consumed=False) == "]":
                text.take("]")
            else:
                yield text.writable_value()
                while text.take(",]") == ",":
                    yield text.writable_value()
        else:
            text.value()
        closing = text.take(",}")
    if (found := text.take(None, is_consumed=False)) != "":
        raise RowError("malformed_row", f"not JSON: {found!r} after the end")


class _Text:
    """The text of a stream, of which only what is not parsed yet is held."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._text = ""
        self._at = 0
        self._has_ended = False
        self._taken = ""  # the text of the last value

    def take(self, wanted: str | None, is_consumed: bool = True) -> str:
        """The next character that is no space; empty at the end.

        Args:
            wanted: Which ones are allowed; ``None``: any.

        Raises:
            RowError: if it is another one.
        """
        while True:
            while self._at < len(self._text) and self._text[self._at] in _SPACES:
                self._at += 1
            if self._at < len(self._text) or self._has_ended:
                break
            self._read_more()
        found = self._text[self._at : self._at + 1]
        if wanted is not None and (not found or found not in wanted):
            where = repr(found) if found else "the end of the file"
            raise RowError("malformed_row", f"not JSON: wanted is one of {' '.join(wanted)}, got {where}")
        self._at += is_consumed and len(found)
        return found

    def writable_value(self) -> Any | RowError:
        """The next value, or a fault where it is not UTF-8 or holds half a character, which no file can hold."""
        value = self.value()
        try:
            self._taken.encode("utf-8")
        except UnicodeEncodeError:
            return RowError("not_utf8", "not UTF-8")
        try:
            if "\\u" in self._taken:
                json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            return RowError("malformed_row", f"holds half a character: {error}")
        return value

    def value(self) -> Any:
        """The next value.

        Raises:
            RowError: if there is none, or it is too long.
        """
        self.take(None, is_consumed=False)
        while True:
            try:
                value, end = _scan(self._text, self._at)
            except RecursionError as error:
                raise RowError("malformed_row", "not JSON: too many brackets within one another") from error
            except ValueError as error:
                # It may only be cut off here.
                fault = f"not JSON: {error}"
            else:
                if end < len(self._text) or self._has_ended:
                    self._taken, self._at = self._text[self._at : end], end
                    return value
                fault = "a number without an end"
            held = len(self._text) - self._at
            if self._has_ended:
                raise RowError("malformed_row", fault)
            if held > MOST_ITEM_CHARACTERS:
                detail = f"no value within {MOST_ITEM_CHARACTERS} characters: {fault}"
                raise RowError("malformed_row", detail, float(held), float(MOST_ITEM_CHARACTERS))
            self._read_more()

    def _read_more(self) -> None:
        left = self._text[self._at :]
        # Twice as much each time, since a long value is scanned from its start again, and nothing beyond the limit: of
        # what is parsed, Python's objects take twenty times the memory.
        most = MOST_ITEM_CHARACTERS + 1 - len(left)
        data = self._stream.read(min(max(_BLOCK_BYTES, len(left)), most))
        self._has_ended = not data
        self._text = left + self._decoder.decode(data, final=not data)
        self._at = 0
