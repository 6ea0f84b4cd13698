"""The pages of an Ogg stream (RFC 3533): Vorbis and Opus decode without a fault however early they end."""

from __future__ import annotations

from assets.audio.byte_view import ByteView

_PAGE_HEADER_BYTES = 27  # up to the table of segment sizes, whose length is the last of them
_FLAGS = 5
_END_OF_STREAM = 0x04


def ogg_shortfall(data: ByteView) -> tuple[int, int, str] | None:
    """``(found, promised, unit)`` where the last page is cut, or is not marked as the stream's end."""
    position = pages = 0
    ended = False
    while data[position : position + 4] == b"OggS":
        table = position + _PAGE_HEADER_BYTES
        segments = data[table - 1 : table][0] if table <= len(data) else 0
        end = table + segments + sum(data[table : table + segments])
        if end > len(data):
            return len(data) - position, end - position, "bytes of the last Ogg page"
        ended = bool(data[position + _FLAGS : position + _FLAGS + 1][0] & _END_OF_STREAM)
        pages += 1
        position = end
    return None if ended else (pages, pages + 1, "Ogg pages at least (none of them is marked as the last)")
