"""What a file's bytes say that they are, whatever its name says, and whether all that they promise is there.

libsndfile forgives a WAV whose data ends early and an MP3 whose last frames are missing: it returns what there is.
Training on half a sentence with the whole text is worse than not training on it, so the promise is read from the
container itself.
"""

from __future__ import annotations

from typing import Literal, get_args

from assets.audio.flac import last_frame_end

Container = Literal["wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "sphere", "mp4", "matroska"]
CONTAINERS: tuple[Container, ...] = get_args(Container)

SUFFIXES: dict[str, Container] = {
    ".wav": "wav",
    ".wave": "wav",
    ".flac": "flac",
    ".ogg": "ogg",
    ".oga": "ogg",
    ".opus": "ogg",
    ".mp3": "mp3",
    ".aiff": "aiff",
    ".aif": "aiff",
    ".au": "au",
    ".snd": "au",
    ".caf": "caf",
    ".sph": "sphere",
    ".m4a": "mp4",
    ".mp4": "mp4",
    ".webm": "matroska",
    ".mka": "matroska",
}
AUDIO_SUFFIXES: frozenset[str] = frozenset(SUFFIXES)

_MPEG_LAYER_3 = 0b01
_SIZE_UNKNOWN = 0xFFFFFFFF  # a streaming writer's "until the end"


def sniff(data: bytes) -> Container | None:
    """The container that the first bytes belong to; ``None`` for text, HTML and anything unknown."""
    head = data[:16]
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if head[4:8] == b"ftyp":
        return "mp4"
    starts: tuple[tuple[bytes, Container], ...] = (
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
        (b".snd", "au"),
        (b"caff", "caf"),
        (b"NIST_1A", "sphere"),
        (b"\x1a\x45\xdf\xa3", "matroska"),
    )
    for magic, container in starts:
        if head.startswith(magic):
            return container
    if head.startswith(b"ID3"):
        # FLAC and others may carry a leading ID3 tag too.
        inner = data[_after_id3(data) :][:4]
        return "flac" if inner == b"fLaC" else "mp3"
    return "mp3" if _mpeg_header(data, 0) is not None else None


def shortfall(data: bytes, container: Container) -> tuple[int, int, str] | None:
    """``(found, promised, unit)`` where the container promises more than there is, else ``None``.

    WAV: the size of the data chunk. FLAC: the total of STREAMINFO against the last whole frame. MP3: the frame count
    of a Xing or Info header. Other containers carry checks of their own that fail when decoding.
    """
    if container == "wav":
        return _wav_shortfall(data)
    if container == "flac":
        return _flac_shortfall(data)
    if container == "mp3":
        return _mp3_shortfall(data)
    return None


def _wav_shortfall(data: bytes) -> tuple[int, int, str] | None:
    order: Literal["big", "little"] = "big" if data[:4] == b"RIFX" else "little"
    position = 12
    while position + 8 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], order)
        found = len(data) - position - 8
        if data[position : position + 4] == b"data":
            known = size not in (0, _SIZE_UNKNOWN) and data[:4] != b"RF64"
            return (found, size, "bytes of samples") if known and found < size else None
        position += 8 + size + size % 2
    return None


def _flac_shortfall(data: bytes) -> tuple[int, int, str] | None:
    start = data.find(b"fLaC", 0, len(data))
    total = int.from_bytes(data[start + 18 : start + 26], "big") & ((1 << 36) - 1)
    if not total:
        return None
    found = last_frame_end(data, start)
    return (found, total, "samples") if found is not None and found < total else None


def _mp3_shortfall(data: bytes) -> tuple[int, int, str] | None:
    position = _after_id3(data)
    # Encoders pad between the tag and the first frame.
    while position < len(data) and _mpeg_header(data, position) is None:
        position += 1
    first = _mpeg_header(data, position)
    if first is None:
        return None
    side_information = first.side_information_bytes
    tag = position + 4 + side_information
    if data[tag : tag + 4] not in (b"Xing", b"Info") or not data[tag + 7] & 1:
        return _incomplete_last_frame(data, position)
    promised = int.from_bytes(data[tag + 8 : tag + 12], "big")
    found, _ = _count_frames(data, position)
    # The header's own frame is not among those it counts.
    return (found - 1, promised, "MPEG frames") if found - 1 < promised else None


def _incomplete_last_frame(data: bytes, position: int) -> tuple[int, int, str] | None:
    _, end = _count_frames(data, position)
    tail = data[end:]
    if tail.startswith((b"TAG", b"APETAGEX", b"LYRICSBEGIN")):
        return None
    header = _mpeg_header(data, end)
    return (len(tail), header.frame_bytes, "bytes of the last MPEG frame") if header is not None else None


class _MpegHeader:
    """Sizes of one MPEG-1/2/2.5 layer 3 frame, from its four header bytes (ISO/IEC 11172-3, 13818-3)."""

    __slots__ = ("frame_bytes", "side_information_bytes")

    def __init__(self, frame_bytes: int, side_information_bytes: int) -> None:
        self.frame_bytes = frame_bytes
        self.side_information_bytes = side_information_bytes


_KBITS_V1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_V2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_RATES_V1 = (44_100, 48_000, 32_000)


def _mpeg_header(data: bytes, position: int) -> _MpegHeader | None:
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


def _count_frames(data: bytes, position: int) -> tuple[int, int]:
    """Whole frames from ``position`` on, and where the last whole one ends."""
    count = 0
    while (header := _mpeg_header(data, position)) is not None and position + header.frame_bytes <= len(data):
        count += 1
        position += header.frame_bytes
    return count, position


def _after_id3(data: bytes) -> int:
    """Where the ID3v2 tag ends: its size is four bytes of seven bits, without the ten bytes of its header."""
    if not data.startswith(b"ID3") or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size
