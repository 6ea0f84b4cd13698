"""Decoding: segments by time, channels to their mean, and a fault with a name for everything else."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile as sf

from assets.audio import segments
from assets.audio.decode import open_source
from assets.audio.flac import flac_shortfall
from assets.audio.problem import AudioFaultError, AudioProblem
from assets.audio.raw_format import RawFormat
from assets.audio.segments import Decoded, Segment
from assets.audio.source_file import SourceFile
from validation.errors import UserError

RATE = 8_000


def wav(samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


def cut(data: bytes, *wanted: Segment, name: str = "x", raw: RawFormat | None = None) -> list:
    with open_source(SourceFile.of_bytes(data), name, raw) as source:
        found = dict(source.cut(wanted or (Segment(),)))
    return [found[index] for index in range(len(found))]


def samples(data: bytes, *wanted: Segment, name: str = "x", raw: RawFormat | None = None) -> np.ndarray:
    (decoded,) = cut(data, *wanted, name=name, raw=raw)
    assert isinstance(decoded, Decoded), decoded
    return decoded.samples_N


def problem(data: bytes, name: str = "x.wav", *wanted: Segment, raw: RawFormat | None = None) -> AudioProblem:
    try:
        (found,) = cut(data, *wanted, name=name, raw=raw)
    except AudioFaultError as error:
        return error.problem
    assert isinstance(found, AudioProblem), found
    return found


def reason(data: bytes, name: str = "x.wav", segment: Segment = Segment()) -> str:  # noqa: B008  # immutable
    return problem(data, name, segment).reason


def test_a_segment_is_the_same_samples_as_in_the_whole():
    ramp = np.linspace(-0.9, 0.9, 2 * RATE)
    parts = (Segment(1.75), Segment(0.5, 1.25), Segment(), Segment(1.0, 1.5))
    tail, part, whole, overlapping = cut(wav(ramp), *parts)
    assert (whole.rate_hz, whole.channels, whole.format) == (RATE, 1, "WAV/PCM_16")
    np.testing.assert_array_equal(part.samples_N, whole.samples_N[4_000:10_000])
    np.testing.assert_array_equal(tail.samples_N, whole.samples_N[14_000:])
    np.testing.assert_array_equal(overlapping.samples_N, whole.samples_N[8_000:12_000])


@pytest.mark.parametrize("segment", [Segment(0.5, 1.5), Segment(2.0), Segment(0.5, 0.5), Segment(-1.0, 0.5)])
def test_a_segment_outside_the_file_is_refused(segment):
    assert reason(wav(np.full(RATE, 0.1)), segment=segment) == "bad_segment"


def test_channels_are_mixed_to_their_mean():
    stereo = np.stack([np.full(RATE, 0.5), np.full(RATE, 0.1)], axis=1)
    (decoded,) = cut(wav(stereo))
    assert (decoded.channels, decoded.channels_used) == (2, (1, 2))
    np.testing.assert_allclose(decoded.samples_N, 0.3, atol=1e-4)


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
    assert samples(wav(np.zeros(100)), name="x.recording").shape == (100,)


def test_the_words_of_a_fault_are_the_same_in_every_run():
    data = b"RIFF\x24\0\0\0WAVEfmt "
    details = {problem(data).detail for _ in range(3)}
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
    assert samples(data).size >= NOISE.size
    assert reason(data[: int(0.6 * len(data))], "x") == "truncated"


def test_sound_that_looks_like_a_frame_header_is_no_end_of_a_flac():
    # Frame 0 of 4,096 samples, 16 bit mono, with its CRC-8: three samples of a noise too wild to be compressed.
    noise = NOISE.copy()
    noise[-200:-197] = np.frombuffer(bytes([0xFF, 0xF8, 0xC9, 0x08, 0x00, 0x95]), dtype=">i2")
    data = encoded(noise, "FLAC", "PCM_16")
    assert flac_shortfall(data) is not None
    np.testing.assert_array_equal(samples(data) * 32_768, noise)


def test_a_damaged_flac_is_not_taken_for_a_cut_one():
    data = bytearray(encoded(NOISE, "FLAC", "PCM_16"))
    data[30_000:30_100] = bytes(100)
    assert reason(bytes(data), "x.flac") == "decode_error"


def test_what_would_not_fit_into_memory_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(segments, "MOST_SAMPLES", 2 * RATE - 1)
    stereo = encoded(np.zeros((RATE, 2), dtype=np.int16), "FLAC")
    assert reason(stereo, "x.flac") == "too_long"
    assert samples(stereo, Segment(0.0, 0.5)).size == RATE // 2


def streamed(data: bytes) -> bytes:
    """A FLAC as it is when it was written to a pipe: without the 36 bits of STREAMINFO's total."""
    piped = bytearray(data)
    piped[21] &= 0xF0
    piped[22:26] = bytes(4)
    return bytes(piped)


FLAC = encoded(NOISE, "FLAC")


def test_a_flac_that_does_not_say_how_long_it_is_is_read_to_its_end():
    np.testing.assert_array_equal(samples(streamed(FLAC)) * 32_768, NOISE)
    np.testing.assert_array_equal(samples(streamed(FLAC), Segment(1.0, 2.0)) * 32_768, NOISE[8_000:16_000])


@pytest.mark.parametrize("missing", [1, 1_000, 5_000, 40_000])
def test_a_streamed_flac_that_was_cut_is_truncated(missing):
    found = problem(streamed(FLAC)[:-missing], "x.flac")
    assert found.reason == "truncated" and found.value < found.limit


@pytest.mark.parametrize("segment", [Segment(4.0, 6.0), Segment(6.0, 7.0), Segment(5.0, 5.005)])
@pytest.mark.parametrize("data", [FLAC, streamed(FLAC)], ids=["stated", "streamed"])
def test_a_segment_beyond_the_end_names_both_numbers(data, segment):
    found = problem(data, "x.flac", segment)
    assert (found.reason, found.value, found.limit) == ("bad_segment", segment.end_s, 5.0)
    assert f"{segment.start_s:.3f} s to {segment.end_s:.3f} s" in found.detail and "5.000 s" in found.detail


@pytest.mark.parametrize("data", [FLAC, streamed(FLAC)], ids=["stated", "streamed"])
def test_an_end_rounded_up_to_two_decimals_is_the_end(data):
    assert samples(data, Segment(4.0, 5.01)).size == 8_000


@pytest.mark.parametrize(
    ("format", "subtype"),
    [("OGG", "OPUS"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("FLAC", "PCM_16"), ("WAV", "IMA_ADPCM"),
     ("WAV", "GSM610"), ("WAV", "PCM_24")],
)  # fmt: skip
def test_a_segment_has_the_same_samples_whichever_others_are_asked_for(format, subtype):
    """What a run that was killed half way asks for is another set than an undisturbed run's."""
    data = encoded(NOISE, format, subtype)
    wanted = [Segment(0.3, 1.1), Segment(0.9, 2.0), Segment(2.5, 3.0), Segment(2.6, 2.7), Segment(4.2)]
    together = cut(data, *wanted)
    for segment, found in zip(wanted, together, strict=True):
        np.testing.assert_array_equal(found.samples_N, samples(data, segment))
    whole = samples(data)
    np.testing.assert_array_equal(together[1].samples_N, whole[7_200:16_000])


def test_damage_costs_only_the_segments_that_it_lies_in():
    data = bytearray(FLAC)
    middle = len(data) // 2
    data[middle : middle + 100] = bytes(100)
    before, within, after = cut(bytes(data), Segment(0.0, 1.0), Segment(2.0, 3.0), Segment(4.0, 5.0))
    np.testing.assert_array_equal(before.samples_N * 32_768, NOISE[:8_000])
    assert within.reason == "decode_error"
    np.testing.assert_array_equal(after.samples_N * 32_768, NOISE[32_000:])


@pytest.mark.parametrize(
    ("encoding", "dtype"),
    {
        "s16le": "<i2",
        "s16be": ">i2",
        "s32le": "<i4",
        "f32le": "<f4",
        "f64be": ">f8",
        "s8": "i1",
        "u8": "u1",
    }.items(),
)
def test_samples_without_a_header_are_what_was_declared(encoding, dtype):
    wave = np.round(100 * np.sin(np.arange(4_000) / 9)) / 128
    kind = np.dtype(dtype)
    full = 1.0 if kind.kind == "f" else 2.0 ** (8 * kind.itemsize - 1)
    data = (wave * full + (128 if kind.kind == "u" else 0)).astype(kind).tobytes()
    raw = RawFormat.parse(f"{encoding}/8000/1")
    np.testing.assert_allclose(samples(data, name="x.raw", raw=raw), wave, atol=1e-6)
    np.testing.assert_allclose(samples(data, Segment(0.1, 0.2), raw=raw), wave[800:1_600], atol=1e-6)
    if kind.itemsize > 1:
        assert problem(data[:-1], "x.raw", raw=raw).reason == "truncated"


def test_channels_without_a_header_are_interleaved():
    data = np.tile(np.array([3_200, 6_400], dtype="<i2"), 500).tobytes()
    (decoded,) = cut(data, raw=RawFormat("s16le", 8_000, 2))
    assert (decoded.channels, decoded.samples_N.size) == (2, 500)
    np.testing.assert_allclose(decoded.samples_N, 4_800 / 32_768)


def test_what_is_declared_headerless_and_has_a_header_is_not_played_as_noise():
    found = problem(wav(np.zeros(100)), "x.raw", raw=RawFormat("s16le", 8_000))
    assert found.reason == "wrong_extension" and "s16le/8000/1" in found.detail


def test_undeclared_samples_without_a_header_say_what_is_missing():
    found = problem(NOISE.tobytes(), "x.raw")
    assert found.reason == "not_audio" and "raw_format" in found.detail


@pytest.mark.parametrize(
    "text", ["s16le", "s16/8000", "s16le/0", "s16le/8000/0", "s16le/x", "s16le/8000/1/1", ""]
)
def test_a_raw_format_that_is_none_is_refused(text):
    with pytest.raises(UserError, match=r"wanted is|allowed are"):
        RawFormat.parse(text)
