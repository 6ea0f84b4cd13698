"""The size that a Matroska or WebM file states for its one segment (RFC 8794, RFC 9559)."""

from __future__ import annotations

from assets.audio.byte_view import ByteView

_SEGMENT = b"\x18\x53\x80\x67"


def matroska_shortfall(data: ByteView) -> tuple[int, int, str] | None:
    """``(found, promised, unit)`` where the segment is cut. What was written to a pipe states no size."""
    header, content = _size_at(data, 4)
    start = content + (header or 0)
    if header is None or data[start : start + 4] != _SEGMENT:
        return None
    size, content = _size_at(data, start + 4)
    if size is None:
        return None
    found = len(data) - content
    return (max(found, 0), size, "bytes of its segment") if found < size else None


def _size_at(data: ByteView, position: int) -> tuple[int | None, int]:
    """A size of one to eight bytes, and where it ends; ``None`` where it is stated to be unknown, or is none."""
    first = data[position : position + 1]
    if not first or not first[0]:
        return None, position
    width = 9 - first[0].bit_length()
    value = int.from_bytes(data[position : position + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), position + width
