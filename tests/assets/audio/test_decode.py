"""Decoding: segments by time, channels to their mean, and a fault with a name for everything else."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile as sf

from assets.audio import decode
from assets.audio.decode import Segment, open_source
from assets.audio.flac import flac_shortfall
from assets.audio.problem import AudioFaultError

RATE = 8_000


def wav(samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def reason(data: bytes, name: str = "x.wav", segment: Segment = Segment()) -> str:  # noqa: B008  # immutable
    with pytest.raises(AudioFaultError) as caught, open_source(data, name) as source:
        source.segment(segment)
    return caught.value.problem.reason


def test_a_segment_is_the_same_samples_as_in_the_whole():
    ramp = np.linspace(-0.9, 0.9, 2 * RATE)
    with open_source(wav(ramp), "x.wav") as source:
        whole = source.segment(Segment())
        part = source.segment(Segment(0.5, 1.25))
        tail = source.segment(Segment(1.75))
        again = source.segment(Segment())
    assert (whole.rate_hz, whole.channels, whole.format) == (RATE, 1, "WAV/PCM_16")
    np.testing.assert_array_equal(part.samples_N, whole.samples_N[4_000:10_000])
    np.testing.assert_array_equal(tail.samples_N, whole.samples_N[14_000:])
    np.testing.assert_array_equal(again.samples_N, whole.samples_N)


@pytest.mark.parametrize("segment", [Segment(0.5, 1.5), Segment(2.0), Segment(0.5, 0.5), Segment(-1.0, 0.5)])
def test_a_segment_outside_the_file_is_refused(segment):
    assert reason(wav(np.full(RATE, 0.1)), segment=segment) == "bad_segment"


def test_channels_are_mixed_to_their_mean():
    stereo = np.stack([np.full(RATE, 0.5), np.zeros(RATE)], axis=1)
    with open_source(wav(stereo), "x.wav") as source:
        decoded = source.segment(Segment())
    assert decoded.channels == 2
    np.testing.assert_allclose(decoded.samples_N, 0.25, atol=1e-4)


def test_channels_that_cancel_each_other_are_a_fault_not_a_silence():
    tone = 0.5 * np.sin(np.arange(RATE))
    assert reason(wav(np.stack([tone, -tone], axis=1))) == "channels_cancel"


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (b"", "x.wav", "empty_file"),
        (b"no audio at all", "x.wav", "not_audio"),
        (wav(np.zeros(0)), "x.wav", "no_frames"),
        (wav(np.zeros(100)), "x.mp3", "wrong_extension"),
        (wav(np.zeros(100), rate=500_000), "x.wav", "sample_rate"),
        (wav(np.zeros(100), rate=100), "x.wav", "sample_rate"),
        (wav(np.zeros(100))[:-20], "x.wav", "truncated"),
        (wav(np.zeros(100))[:44], "x.wav", "no_frames"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "x.wav", "decode_error"),
        (b"fLaC" + bytes(60), "x.flac", "decode_error"),
        (b"\0\0\0\x20ftypM4A " + bytes(40), "x.m4a", "decode_error"),
    ],
)
def test_each_fault_has_its_name(data, name, expected):
    assert reason(data, name) == expected


def test_an_unknown_extension_contradicts_nothing():
    with open_source(wav(np.zeros(100)), "x.recording") as source:
        assert source.segment(Segment()).samples_N.shape == (100,)


def test_the_words_of_a_fault_are_the_same_in_every_run():
    data = b"RIFF\x24\0\0\0WAVEfmt "
    details = set()
    for _ in range(3):
        with pytest.raises(AudioFaultError) as caught, open_source(data, "x.wav"):
            pass
        details.add(caught.value.problem.detail)
    assert len(details) == 1 and "0x" not in details.pop()


NOISE = np.random.default_rng(0).integers(-32_768, 32_768, 40_000).astype(np.int16)


def encoded(samples: np.ndarray, format: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, RATE, format=format, subtype=subtype)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("format", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("RF64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AIFF", "ULAW"),
        ("AU", "PCM_16"),
        ("NIST", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_half_a_recording_is_truncated_whatever_its_format(format, subtype):
    data = encoded(NOISE, format, subtype)
    with open_source(data, "x") as source:
        assert source.segment(Segment()).samples_N.size >= NOISE.size
    assert reason(data[: int(0.6 * len(data))], "x") == "truncated"


def test_sound_that_looks_like_a_frame_header_is_no_end_of_a_flac():
    # Frame 0 of 4,096 samples, 16 bit mono, with its CRC-8: three samples of a noise too wild to be compressed.
    noise = NOISE.copy()
    noise[-200:-197] = np.frombuffer(bytes([0xFF, 0xF8, 0xC9, 0x08, 0x00, 0x95]), dtype=">i2")
    data = encoded(noise, "FLAC", "PCM_16")
    assert flac_shortfall(data) is not None
    with open_source(data, "x.flac") as source:
        np.testing.assert_array_equal(source.segment(Segment()).samples_N * 32_768, noise)


def test_a_damaged_flac_is_not_taken_for_a_cut_one():
    data = bytearray(encoded(NOISE, "FLAC", "PCM_16"))
    data[30_000:30_100] = bytes(100)
    assert reason(bytes(data), "x.flac") == "decode_error"


def test_what_would_not_fit_into_memory_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(decode, "MOST_SAMPLES", 2 * RATE - 1)
    stereo = encoded(np.zeros((RATE, 2), dtype=np.int16), "FLAC")
    assert reason(stereo, "x.flac") == "too_long"
    with open_source(stereo, "x.flac") as source:
        assert source.segment(Segment(0.0, 0.5)).samples_N.size == RATE // 2


def test_a_flac_that_does_not_say_how_long_it_is_says_so():
    data = bytearray(encoded(NOISE, "FLAC"))
    data[21] &= 0xF0  # the 36 bits of STREAMINFO's total
    data[22:26] = bytes(4)
    assert reason(bytes(data), "x.flac") == "decode_error"
