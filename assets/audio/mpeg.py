"""The frames of an MP3 stream: whether there is one, and whether all that it promises is there."""

from __future__ import annotations

from assets.audio.byte_view import ByteView

_MPEG_LAYER_3 = 0b01
_MOST_PADDING_BYTES = 1 << 18  # between the tag and the first frame; encoders leave a few KiB


def starts_mpeg(data: ByteView) -> bool:
    """Whether the bytes begin with an MPEG layer 3 frame."""
    return _mpeg_header(data, 0) is not None


def starts_adts(data: ByteView) -> bool:
    """Whether the bytes begin with an ADTS frame of AAC (ISO/IEC 13818-7): layer 0, and one of 13 rates."""
    head = data[:4]
    return len(head) == 4 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 and head[2] >> 2 & 15 < 13


def mp3_shortfall(data: ByteView) -> tuple[int, int, str] | None:
    """Whole frames against the count of a Xing or Info header; without one, the last frame against its own size."""
    position = after_id3(data)
    # Encoders pad between the tag and the first frame.
    padded_to = min(len(data), position + _MOST_PADDING_BYTES)
    while position < padded_to and _mpeg_header(data, position) is None:
        position += 1
    first = _mpeg_header(data, position)
    if first is None:
        return None
    side_information = first.side_information_bytes
    tag = position + 4 + side_information
    mark, flags = data[tag : tag + 4], data[tag + 7 : tag + 8]
    if mark not in (b"Xing", b"Info") or not flags or not flags[0] & 1:
        return _incomplete_last_frame(data, position)
    promised = int.from_bytes(data[tag + 8 : tag + 12], "big")
    found, _ = _count_frames(data, position)
    # The header's own frame is not among those it counts; it may be cut itself.
    found = max(found - 1, 0)
    return (found, promised, "MPEG frames") if found < promised else None


def _incomplete_last_frame(data: ByteView, position: int) -> tuple[int, int, str] | None:
    _, end = _count_frames(data, position)
    if data[end : end + 16].startswith((b"TAG", b"APETAGEX", b"LYRICSBEGIN")):
        return None
    header = _mpeg_header(data, end)
    if header is None:
        return None
    return len(data) - end, header.frame_bytes, "bytes of the last MPEG frame"


class _MpegHeader:
    """Sizes of one MPEG-1/2/2.5 layer 3 frame, from its four header bytes (ISO/IEC 11172-3, 13818-3)."""

    __slots__ = ("frame_bytes", "side_information_bytes")

    def __init__(self, frame_bytes: int, side_information_bytes: int) -> None:
        self.frame_bytes = frame_bytes
        self.side_information_bytes = side_information_bytes


_KBITS_V1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_V2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_V1 = (44_100, 48_000, 32_000)


def _mpeg_header(data: ByteView, position: int) -> _MpegHeader | None:
    head = data[position : position + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer != _MPEG_LAYER_3 or bitrate in (0, 15) or rate == 3:
        return None
    version_1 = version == 3
    bits_per_second = 1000 * (_KBITS_V1 if version_1 else _KBITS_V2)[bitrate]
    rate_hz = _RATES_V1[rate] // {3: 1, 2: 2, 0: 4}[version]
    frame_bytes = (144 if version_1 else 72) * bits_per_second // rate_hz + (head[2] >> 1 & 1)
    mono = head[3] >> 6 == 3
    side_information = (17 if mono else 32) if version_1 else (9 if mono else 17)
    return _MpegHeader(frame_bytes, side_information)


def _count_frames(data: ByteView, position: int) -> tuple[int, int]:
    """Whole frames from ``position`` on, and where the last whole one ends."""
    count = 0
    while (header := _mpeg_header(data, position)) is not None and position + header.frame_bytes <= len(data):
        count += 1
        position += header.frame_bytes
    return count, position


def after_id3(data: ByteView) -> int:
    """Where the ID3v2 tag ends: its size is four bytes of seven bits, without the ten bytes of its header."""
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size
