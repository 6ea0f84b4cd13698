"""Recordings whose headers claim hours, channels, rates and sizes that are not there, and what is no recording."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from robustness.made import entry, put, speech_like, wav

_HOURS = 5
_SILENCE_RATE_HZ = 8_000


def headers(root: Path) -> dict[str, Any]:
    """Headers that claim hours, channels and rates that are not there."""
    sound = wav()
    rates = {"rate_0": 0, "rate_1": 1, "rate_max": 2**32 - 1}
    files: dict[str, bytes] = {
        "hours.wav": sound[:40] + struct.pack("<I", 2**32 - 16) + sound[44:],
        "channels.wav": sound[:22] + struct.pack("<H", 65_535) + sound[24:],
        "no_channels.wav": sound[:22] + struct.pack("<H", 0) + sound[24:],
        **{f"{name}.wav": sound[:24] + struct.pack("<I", rate) + sound[28:] for name, rate in rates.items()},
        "chunk.wav": sound[:16] + struct.pack("<I", 2**32 - 1) + sound[20:],
        "chunks.wav": sound[:12] + b"junk\0\0\0\0" * 200_000,
        "rf64.wav": _rf64(sound),
        "frames.aiff": _aiff(2**32 - 1, 1),
        "channels.aiff": _aiff(1, 32_767),
        "hours.au": b".snd" + struct.pack(">IIIII", 24, 2**32 - 2, 3, 16_000, 1) + bytes(32_000),
        "hours.caf": b"caff\0\1\0\0desc" + struct.pack(">qd4sIIIII", 32, 16e3, b"lpcm", 0, 2, 1, 1, 16)
        + b"data" + struct.pack(">qI", 2**62, 0) + bytes(32_000),
        "hours.flac": _flac(2**36 - 1),
        "silence.flac": _silence(),
        "silence_unstated.flac": _without_total(_silence()),
        "hours.sph": (b"NIST_1A\n   1024\nsample_count -i " + b"9" * 18 + b"\nsample_n_bytes -i 2\nchannel_count -i 1\n"
                      b"sample_rate -i 16000\nend_head\n").ljust(1024) + bytes(32_000),
        "hours.mp4": b"\0\0\0\x18ftypM4A \0\0\0\0M4A isom" + struct.pack(">I4s", 1, b"mdat") + struct.pack(">Q", 2**62),
        "box.m4a": b"\0\0\0\x18ftypM4A \0\0\0\0M4A isom" + b"\0\0\0\x08free" * 100_000,
        "hours.webm": b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xfe" + bytes(1000),
        "hours.mp3": b"ID3\4\0\0\x7f\x7f\x7f\x7f" + bytes(1000),
        "page.ogg": (b"OggS\0\2" + b"\xff" * 20 + b"\xff" * 256) * 100,
        "zip.wav": b"PK\x03\x04" + bytes(1000),
        "program.wav": b"\x7fELF" + bytes(1000),
        "playlist.wav": b"#EXTM3U\nfile:///etc/passwd\nhttp://169.254.169.254/x\n",
        "list.m4a": b"ffconcat version 1.0\nfile /etc/passwd\n",
    }  # fmt: skip
    for name, content in files.items():
        put(root / name, content)
    return entry("headers", "untranscribed", options={"purpose": "tokenizer"})


def _rf64(sound: bytes) -> bytes:
    sizes = struct.pack("<QQQI", 2**62, 2**62, 2**61, 0)
    return (
        b"RF64\xff\xff\xff\xffWAVEds64"
        + struct.pack("<I", 28)
        + sizes
        + sound[12:40]
        + b"\xff" * 4
        + sound[44:]
    )


def _aiff(frames: int, channels: int) -> bytes:
    rate = b"\x40\x0c\xfa\x00\0\0\0\0\0\0"  # 16 kHz in 80 bits
    common = b"COMM" + struct.pack(">IHIH", 18, channels, frames, 16) + rate
    return (
        b"FORM"
        + struct.pack(">I", 2**31)
        + b"AIFF"
        + common
        + b"SSND"
        + struct.pack(">III", 8 + 32_000, 0, 0)
        + bytes(32_000)
    )


def _flac(frames: int) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, speech_like(1.0), 16_000, format="FLAC")
    content = bytearray(buffer.getvalue())
    low = int.from_bytes(content[18:26], "big") & ~((1 << 36) - 1)
    content[18:26] = (low | frames).to_bytes(8, "big")
    return bytes(content)


def _silence() -> bytes:
    """Hours of digital silence are small."""
    buffer = io.BytesIO()
    with sf.SoundFile(buffer, "w", _SILENCE_RATE_HZ, 1, "PCM_16", format="FLAC") as sound:
        minute = np.zeros(60 * _SILENCE_RATE_HZ, dtype=np.int16)
        for _ in range(60 * _HOURS):
            sound.write(minute)
    return buffer.getvalue()


def _without_total(content: bytes) -> bytes:
    low = int.from_bytes(content[18:26], "big") & ~((1 << 36) - 1)
    return content[:18] + low.to_bytes(8, "big") + content[26:]
