"""Where the frames of a FLAC stream end, without decoding it (RFC 9639, section 9.1).

A FLAC cut short and one with damaged bytes in the middle give the same decoder error; the last frame's number tells
them apart, so that the ledger can say which it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from assets.audio.byte_view import ByteView
from assets.audio.mpeg import after_id3

_SEARCH_BYTES = 1 << 17  # two of the largest frames that the format's usual block sizes lead to
_BLOCK_SIZES = {1: 192, **{n: 144 << n for n in range(2, 6)}, **{n: 1 << n for n in range(8, 16)}}


def flac_shortfall(data: ByteView) -> tuple[int, int, str] | None:
    """``(found, promised, unit)`` where the last frame ends before STREAMINFO's total.

    Where the total is not stated (a FLAC written to a pipe): where the last frame, by its CRC-16, does not end with the
    file. To be asked only of a file that does not decode: six bytes of a good file's sound may look like a frame's
    header.
    """
    start = after_id3(data)
    total = int.from_bytes(data[start + 18 : start + 26], "big") & ((1 << 36) - 1)
    last = _last_frame(data, start)
    if last is None:
        return None
    if total:
        return (last.end, total, "samples") if last.end < total else None
    is_whole = _crc16(last.content[:-2]) == int.from_bytes(last.content[-2:], "big")
    return None if is_whole else (last.first, last.end, "samples at least")


@dataclass(frozen=True, slots=True)
class _Frame:
    """The last frame whose header is whole: its first sample, the first after it, its bytes up to the file's end."""

    first: int
    end: int
    content: bytes


def _last_frame(data: ByteView, start: int) -> _Frame | None:
    fixed_block = int.from_bytes(data[start + 10 : start + 12], "big")  # STREAMINFO's largest block
    tail = data[max(len(data) - _SEARCH_BYTES, start) :]
    position = len(tail) - 2
    while (position := tail.rfind(b"\xff", 0, max(position, 0))) >= 0:
        samples = _frame_samples(tail, position, fixed_block)
        if samples is not None:
            return _Frame(*samples, tail[position:])
    return None


def _frame_samples(data: bytes, position: int, fixed_block: int) -> tuple[int, int] | None:
    """First sample of the frame whose header stands at ``position``, and the first after it; ``None`` if none does."""
    if len(data) < position + 6 or data[position + 1] not in (0xF8, 0xF9):
        return None
    size_code = data[position + 2] >> 4
    rate_code = data[position + 2] & 15
    number, cursor = _coded_number(data, position + 4)
    if number is None:
        return None
    if size_code in (6, 7):
        width = size_code - 5
        block = int.from_bytes(data[cursor : cursor + width], "big") + 1
        cursor += width
    elif size_code in _BLOCK_SIZES:
        block = _BLOCK_SIZES[size_code]
    else:
        return None
    cursor += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if cursor >= len(data) or _crc8(data[position:cursor]) != data[cursor]:
        return None
    variable_blocks = data[position + 1] == 0xF9
    first = number if variable_blocks else number * fixed_block
    return first, first + block


def _coded_number(data: bytes, cursor: int) -> tuple[int | None, int]:
    """The frame's (or sample's) number, coded like a UTF-8 character of up to seven bytes, and where it ends."""
    first = data[cursor]
    if first < 0x80:
        return first, cursor + 1
    extra = next((n for n in range(1, 7) if first & (0x40 >> n) == 0), None)
    if first & 0x40 == 0 or extra is None or cursor + extra >= len(data):
        return None, cursor
    number = first & ((1 << (6 - extra)) - 1)
    for byte in data[cursor + 1 : cursor + 1 + extra]:
        if byte & 0xC0 != 0x80:
            return None, cursor
        number = number << 6 | byte & 0x3F
    return number, cursor + 1 + extra


def _crc8(data: bytes) -> int:
    """CRC-8 with the polynomial x^8 + x^2 + x + 1, as the frame headers have it."""
    state = 0
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state << 1 ^ 0x07 if state & 0x80 else state << 1) & 0xFF
    return state


def _crc16(data: bytes) -> int:
    """CRC-16 with the polynomial x^16 + x^15 + x^2 + 1, as the frames' ends have it."""
    state = 0
    for byte in data:
        state ^= byte << 8
        for _ in range(8):
            state = (state << 1 ^ 0x8005 if state & 0x8000 else state << 1) & 0xFFFF
    return state
