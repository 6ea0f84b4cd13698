"""The boxes of an MP4 or QuickTime file (ISO/IEC 14496-12): whether all of them are there."""

from __future__ import annotations

from assets.audio.byte_view import ByteView

_TO_THE_END = 0
_LARGE = 1  # the size follows in 64 bit


def mp4_shortfall(data: ByteView) -> tuple[int, int, str] | None:
    """``(found, promised, unit)`` where the last box is cut, or ``moov``, without which nothing decodes, is missing."""
    position, has_index = 0, False
    while position + 8 <= len(data):
        head = data[position : position + 16]
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        if size == _LARGE:
            size = int.from_bytes(head[8:16], "big")
        has_index |= name == b"moov"
        if size == _TO_THE_END:
            return None
        if position + size > len(data):
            return len(data) - position, size, f"bytes of the box {name.decode('latin-1')!r}"
        if size < 8:
            return None  # no box: the decoder says what it thinks of it
        position += size
    return None if has_index else (len(data), len(data) + 8, "bytes at least (the box 'moov' is missing)")
