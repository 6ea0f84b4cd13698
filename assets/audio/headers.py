"""What the headers of uncompressed containers promise against what follows them: WAV, AIFF, AU and NIST SPHERE.

Each function gives ``(found, promised, unit)`` where there is less than promised, else ``None``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from assets.audio.byte_view import ByteView

Shortfall = tuple[int, int, str]

_UNIT = "bytes of samples"
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)  # a streaming writer's "until the end"
_LEAST_FMT_BYTES = 16
# PCM, MS ADPCM, float, A-law, mu-law, IMA ADPCM, GSM 6.10, NMS ADPCM, G.721, MP3, extensible (RFC 2361)
_USUAL_WAV_CODECS = frozenset((0x0, 0x1, 0x2, 0x3, 0x6, 0x7, 0x11, 0x31, 0x38, 0x40, 0x55, 0xFFFE))
_SSND_HEADER_BYTES = 8  # offset and block size, before the samples
_SPHERE_FIELD = re.compile(rb"^(sample_count|channel_count|sample_n_bytes) -i (\d{1,18})\s*$", re.MULTILINE)
_SPHERE_HEADER_BYTES = 1024
_LARGEST_SPHERE_HEADER_BYTES = 1 << 16


def wav_shortfall(data: ByteView) -> Shortfall | None:
    """The size of the data chunk; in RF64, where that does not fit into 32 bit, the one in the chunk ``ds64``."""
    promised_by_ds64 = 0
    for name, start, size in _chunks(data, "big" if data[:4] == b"RIFX" else "little"):
        if name == b"ds64":
            # Sizes of the file and of the data chunk, 64 bit each (EBU Tech 3306).
            promised_by_ds64 = int.from_bytes(data[start + 8 : start + 16], "little")
        if name == b"data":
            return _less(len(data) - start, promised_by_ds64 if size in _UNKNOWN_SIZES else size)
    return None


def has_rare_wav_codec(data: ByteView) -> bool:
    """Whether a WAV's codec is one that libsndfile does not know, and takes for damage (G.726, G.729, AAC ...)."""
    for name, start, size in _chunks(data, "big" if data[:4] == b"RIFX" else "little"):
        if name == b"fmt " and size >= _LEAST_FMT_BYTES:
            tag = data[start : start + 2]
            return int.from_bytes(tag, "big" if data[:4] == b"RIFX" else "little") not in _USUAL_WAV_CODECS
    return False


def aiff_shortfall(data: ByteView) -> Shortfall | None:
    """The size of the sound chunk, or what the common chunk's frames need; the larger one."""
    found = promised_by_size = promised_by_frames = 0
    for name, start, size in _chunks(data, "big"):
        if name == b"COMM" and data[8:12] == b"AIFF":  # in AIFC the samples may be compressed
            channels, frames, bits = (
                int.from_bytes(data[start + first : start + last], "big")
                for first, last in ((0, 2), (2, 6), (6, 8))
            )
            promised_by_frames = frames * channels * -(-bits // 8)
        if name == b"SSND":
            found = len(data) - start - _SSND_HEADER_BYTES
            promised_by_size = 0 if size in _UNKNOWN_SIZES else size - _SSND_HEADER_BYTES
    return _less(found, max(promised_by_size, promised_by_frames))


def au_shortfall(data: ByteView) -> Shortfall | None:
    """The data size of the header."""
    offset, size = int.from_bytes(data[4:8], "big"), int.from_bytes(data[8:12], "big")
    return None if size in _UNKNOWN_SIZES else _less(len(data) - offset, size)


def sphere_shortfall(data: ByteView) -> Shortfall | None:
    """Samples, channels and bytes per sample of the header; compressed samples promise nothing that can be counted."""
    stated = data[8:16].strip()
    header_bytes = int(stated) if stated.isdigit() else _SPHERE_HEADER_BYTES
    header = data[: min(header_bytes, _LARGEST_SPHERE_HEADER_BYTES)]
    if re.search(rb"^sample_coding .*(shorten|shortpack|wavpack)", header, re.MULTILINE):
        return None
    fields = {name: int(value) for name, value in _SPHERE_FIELD.findall(header)}
    if not {b"sample_count", b"sample_n_bytes"} <= set(fields):
        return None
    promised = fields[b"sample_count"] * fields.get(b"channel_count", 1) * fields[b"sample_n_bytes"]
    return _less(len(data) - header_bytes, promised)


def _chunks(data: ByteView, order: Literal["big", "little"]) -> Iterator[tuple[bytes, int, int]]:
    """Name, start of the content and stated size of each chunk of an IFF file; chunks begin at even offsets."""
    position = 12
    while position + 8 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], order)
        yield data[position : position + 4], position + 8, size
        position += 8 + size + size % 2


def _less(found: int, promised: int) -> Shortfall | None:
    return (max(found, 0), promised, _UNIT) if found < promised else None
