"""How large the batches of an Arrow file become when they are read, asked of their headers before one is.

A batch is decompressed as a whole, each buffer into as many bytes as it says itself: kilobytes of it may become
gigabytes. A stream is messages, each a length, metadata and a body; of a file the footer says where they are. Metadata
and footer are tables of FlatBuffers (Arrow's format/Message.fbs and File.fbs), whose fields have numbers.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import IO

from assets.audio.parquet_pages import MOST_PAGE_BYTES
from assets.audio.problem import fault

MAGIC = b"ARROW1"
_CONTINUES = b"\xff\xff\xff\xff"
_KIND, _HEADER, _BODY_BYTES = 1, 2, 3
_BUFFERS, _COMPRESSION, _DATA_OF_DICTIONARY = 2, 3, 1
_DICTIONARY, _BATCH = 2, 3  # kinds of messages
_BATCHES_OF_FILE = (2, 3)  # of the footer: batches of dictionaries, and batches
_BUFFER = struct.Struct("<qq")  # where in the body, and how many bytes
_BLOCK = struct.Struct("<qi4xq")  # where in the file, bytes of metadata and of the body
_MOST_METADATA_BYTES = 1 << 24
_MOST_BYTES = 1 << 48  # of a body: no file system has files of more


def refuse_large_batches(stream: IO[bytes]) -> None:
    """Go through the messages of an Arrow file or stream.

    Raises:
        AudioFaultError: ``decode_error``, where a compressed batch states more than :data:`MOST_PAGE_BYTES`, or what
            stands there is no message.
    """
    stream.seek(0)
    try:
        if stream.read(len(MAGIC)) == MAGIC:
            for place in _batches_of_file(stream):
                _refuse(stream, place)
        else:
            following: int | None = 0
            while following is not None:
                following = _refuse(stream, following)
    except struct.error as error:
        detail = "has no message of Arrow's where one should be: it is damaged, or no file of Arrow's"
        raise fault("decode_error", detail) from error


def _batches_of_file(stream: IO[bytes]) -> list[int]:
    """Where the footer says that the batches are."""
    end = stream.seek(0, io.SEEK_END) - len(MAGIC) - 4
    stream.seek(max(end, 0))
    size = int.from_bytes(stream.read(4), "little")
    if not 0 < size <= end:
        raise struct.error
    stream.seek(end - size)
    footer = _Table.root(stream.read(size))
    fields = [field for field in _BATCHES_OF_FILE if footer.has(field)]
    return [place for field in fields for place, _, _ in footer.structs(field, _BLOCK)]


def _refuse(stream: IO[bytes], position: int) -> int | None:
    """Look at the message there; gives where the next one is, if there is one."""
    stream.seek(_place(position))
    start = stream.read(8)
    if start[:4] != _CONTINUES:  # as in files of before Arrow 0.15
        position -= 4
        start = _CONTINUES + start[:4]
    size = int.from_bytes(start[4:], "little")
    if len(start) < 8 or not size:
        return None
    if size > _MOST_METADATA_BYTES:
        raise struct.error
    body = position + 8 + size
    stream.seek(position + 8)
    message = _Table.root(stream.read(size))
    kind = message.number(_KIND, "<B")
    if kind in (_DICTIONARY, _BATCH):
        _refuse_batch(stream, message, kind, body)
    return body + _place(message.number(_BODY_BYTES, "<q"))


def _refuse_batch(stream: IO[bytes], message: _Table, kind: int, body: int) -> None:
    batch = message.table(_HEADER)
    if kind == _DICTIONARY:
        batch = batch.table(_DATA_OF_DICTIONARY)
    if not batch.has(_COMPRESSION):
        return  # as large as it lies there
    total = 0
    for place, length in batch.structs(_BUFFERS, _BUFFER):
        if length:
            stream.seek(body + _place(place))
            (stated,) = struct.unpack("<q", stream.read(8))
            total += max(stated, length)  # -1: this one is not compressed
    if total > MOST_PAGE_BYTES:
        detail = (
            f"has a batch of {total} bytes at byte {body}; allowed are {MOST_PAGE_BYTES}: written with fewer rows "
            "in a batch, it has smaller ones"
        )
        raise fault("decode_error", detail, float(total), float(MOST_PAGE_BYTES))


def _place(stated: int) -> int:
    if not 0 <= stated <= _MOST_BYTES:
        raise struct.error
    return stated


class _Table:
    """A table of FlatBuffers; all that leads out of it is a :class:`struct.error`."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        self._fields = at - self._read("<i", at)

    @classmethod
    def root(cls, data: bytes) -> _Table:
        """The outermost one."""
        (at,) = struct.unpack_from("<I", data)
        return cls(data, at)

    def has(self, field: int) -> bool:
        """Whether it is there."""
        return self._place(field) is not None

    def number(self, field: int, form: str) -> int:
        """A number; 0 where there is none."""
        place = self._place(field)
        return 0 if place is None else self._read(form, place)

    def table(self, field: int) -> _Table:
        """A table within this one."""
        return _Table(self._data, self._target(field))

    def structs(self, field: int, form: struct.Struct) -> Iterator[tuple[int, ...]]:
        """A list of structs of numbers."""
        at = self._target(field)
        end = at + 4 + self._read("<I", at) * form.size
        if end > len(self._data):
            raise struct.error
        return form.iter_unpack(self._data[at + 4 : end])

    def _target(self, field: int) -> int:
        place = self._place(field)
        if place is None:
            raise struct.error
        return place + self._read("<I", place)

    def _place(self, field: int) -> int | None:
        """Where the field stands; the table's list of fields begins with its own size."""
        entry = 4 + 2 * field
        if entry >= self._read("<H", self._fields):
            return None
        offset = self._read("<H", self._fields + entry)
        return self._at + offset if offset else None

    def _read(self, form: str, at: int) -> int:
        if at < 0:
            raise struct.error
        (found,) = struct.unpack_from(form, self._data, at)
        return int(found)
