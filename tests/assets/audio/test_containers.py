"""Containers say what they are and what they promise; a cut file is found without decoding it."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile as sf

from assets.audio.containers import shortfall, sniff
from assets.audio.flac import flac_shortfall

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


CUT = {
    "WAV": "wav",
    "RF64": "wav",
    "AIFF": "aiff",
    "AU": "au",
    "NIST": "sphere",
    "OGG/VORBIS": "ogg",
    "OGG/OPUS": "ogg",
    "MP3": "mp3",
}


@pytest.mark.parametrize(("format", "container"), CUT.items())
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_file_has_less_than_it_promises(format, container, share):
    data = encoded(*format.split("/"))
    missing = shortfall(data[: int(share * len(data))], container)
    assert missing is not None
    found, promised, _ = missing
    assert 0 < found < promised
    if container not in ("mp3", "ogg"):  # whose rate of bytes varies
        assert found / promised == pytest.approx(share, abs=0.12)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_flac_ends_before_its_total(share):
    data = encoded("FLAC")
    assert flac_shortfall(data) is None
    missing = flac_shortfall(data[: int(share * len(data))])
    assert missing is not None
    assert missing[0] / missing[1] == pytest.approx(share, abs=0.12)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_cut_between_two_pages_misses_its_last_one(subtype):
    data = encoded("OGG", subtype)
    assert shortfall(data + b"TAG" + bytes(125), "ogg") is None
    assert shortfall(data[: data.rindex(b"OggS")], "ogg") is not None


def test_an_aiff_of_unknown_size_is_measured_by_its_frames():
    data = bytearray(encoded("AIFF"))
    struct.pack_into(">I", data, data.index(b"SSND") + 4, 0)
    assert shortfall(bytes(data), "aiff") is None
    found, promised, _ = shortfall(bytes(data[:-100]), "aiff") or (0, 0, "")
    assert (found, promised) == (79_900, 80_000)


def test_compressed_sphere_samples_cannot_be_counted():
    data = encoded("NIST").replace(
        b"sample_coding -s3 pcm\n", b"sample_coding -s26 pcm,embedded-shorten-v2.00\n"
    )
    assert shortfall(data[:20_000], "sphere") is None


def test_an_mp3_without_a_frame_count_is_found_by_its_last_frame():
    data = encoded("MP3")
    for name in (b"Xing", b"Info"):
        data = data.replace(name, b"\0\0\0\0")
    assert shortfall(data, "mp3") is None
    assert shortfall(data[:-50], "mp3") is not None


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_streamed_file_with_an_unknown_size_is_whole(size):
    wav, au = bytearray(encoded("WAV")), bytearray(encoded("AU"))
    struct.pack_into("<I", wav, wav.index(b"data") + 4, size)
    struct.pack_into(">I", au, 8, size)
    assert shortfall(bytes(wav), "wav") is None
    assert shortfall(bytes(au), "au") is None


def test_random_bytes_after_a_header_are_survived():
    rng = np.random.default_rng(1)
    flac = encoded("FLAC")[:200]
    starts = {
        "mp3": b"\xff\xf3\x70\xc0",
        "wav": b"RIFF\0\0\0\0WAVE",
        "aiff": b"FORM\0\0\0\0AIFF",
        "au": b".snd",
        "ogg": b"OggS",
        "sphere": b"NIST_1A\n",
    }
    for _ in range(50):
        flac_shortfall(flac + rng.bytes(5_000))
        for container, start in starts.items():
            missing = shortfall(start + rng.bytes(500), container)
            assert missing is None or missing[0] < missing[1]
