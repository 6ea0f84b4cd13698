"""Containers say what they are and what they promise; a cut file is found without decoding it."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile as sf

from assets.audio.containers import shortfall, sniff

NOISE = np.random.default_rng(0).uniform(-0.3, 0.3, 40_000).astype(np.float32)


def encoded(format: str, subtype: str | None = None, rate: int = 16_000) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, NOISE, rate, format=format, subtype=subtype)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("format", "container"),
    {
        "WAV": "wav",
        "WAVEX": "wav",
        "RF64": "wav",
        "FLAC": "flac",
        "OGG": "ogg",
        "MP3": "mp3",
        "AIFF": "aiff",
        "AU": "au",
        "CAF": "caf",
        "NIST": "sphere",
    }.items(),
)
def test_whole_files_are_known_and_promise_nothing_they_have_not(format, container):
    data = encoded(format)
    assert sniff(data) == container
    assert shortfall(data, container) is None


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"<html></html>", b"hello, world, this is text", b"\xff" * 32, b"ID3"]
)
def test_what_is_no_audio_is_not_taken_for_it(data):
    assert sniff(data) in (None, "mp3" if data == b"ID3" else None)


@pytest.mark.parametrize(("format", "container"), [("WAV", "wav"), ("FLAC", "flac"), ("MP3", "mp3")])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_file_has_less_than_it_promises(format, container, share):
    data = encoded(format)
    missing = shortfall(data[: int(share * len(data))], container)
    assert missing is not None
    found, promised, _ = missing
    assert found < promised
    if container != "mp3":  # whose rate of bytes varies
        assert found / promised == pytest.approx(share, abs=0.12)


def test_an_mp3_without_a_frame_count_is_found_by_its_last_frame():
    data = encoded("MP3")
    for name in (b"Xing", b"Info"):
        data = data.replace(name, b"\0\0\0\0")
    assert shortfall(data, "mp3") is None
    assert shortfall(data[:-50], "mp3") is not None


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_streamed_wav_with_an_unknown_size_is_whole(size):
    data = bytearray(encoded("WAV"))
    struct.pack_into("<I", data, data.index(b"data") + 4, size)
    assert shortfall(bytes(data), "wav") is None


def test_random_bytes_after_a_flac_header_are_survived():
    rng = np.random.default_rng(1)
    head = encoded("FLAC")[:200]
    for _ in range(50):
        shortfall(head + rng.bytes(5_000), "flac")
        shortfall(b"\xff\xf3\x70\xc0" + rng.bytes(500), "mp3")
        shortfall(b"RIFF\0\0\0\0WAVE" + rng.bytes(500), "wav")
