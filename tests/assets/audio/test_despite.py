"""Recordings cut short or misnamed: how much of them is there, and just that to whoever accepted it."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import soundfile as sf

from assets.audio import mpeg
from assets.audio.despite import Forgiven, Found, cut_recording
from assets.audio.problem import AudioProblem
from assets.audio.raw_format import RawFormat
from assets.audio.segments import Decoded, Segment
from assets.audio.source_file import SourceFile

RATE = 16_000
NOISE = np.random.default_rng(0).integers(-8_000, 8_000, 4 * RATE).astype(np.int16)


def encoded(format: str, subtype: str | None = None, samples: np.ndarray = NOISE) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, samples, RATE, format=format, subtype=subtype)
    return buffer.getvalue()


def by_ffmpeg(folder: Path, name: str, *options: str) -> bytes:
    (folder / "x.wav").write_bytes(encoded("WAV"))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(folder / "x.wav"), *options]
    subprocess.run([*command, str(folder / name)], check=True)
    return (folder / name).read_bytes()


def cut(
    data: bytes, name: str, despite=None, *segments: Segment, raw: RawFormat | None = None
) -> list[Found]:
    wanted = segments or (Segment(),)
    found = dict(cut_recording(SourceFile.of_bytes(data), name, raw, "mix", wanted, despite))
    return [found[index] for index in range(len(wanted))]


def seconds(found: Found) -> float:
    assert isinstance(found, Forgiven), found
    return found.decoded.samples_N.shape[0] / found.decoded.rate_hz


@pytest.mark.parametrize(
    ("format", "subtype", "promises"),
    [
        ("WAV", "PCM_16", True),
        ("RF64", "PCM_24", True),
        ("AIFF", "PCM_16", True),
        ("AU", "ULAW", True),
        ("NIST", "PCM_16", True),
        ("FLAC", "PCM_16", True),
        ("MP3", "MPEG_LAYER_III", True),
        ("OGG", "VORBIS", False),
        ("OGG", "OPUS", False),
    ],
)
def test_of_half_a_recording_what_is_there_is_given_to_whoever_accepted_it(format, subtype, promises):
    data = encoded(format, subtype)
    half = data[: int(0.6 * len(data))]
    (problem,) = cut(half, "x")
    assert isinstance(problem, AudioProblem) and problem.reason == "truncated"
    (found,) = cut(half, "x", "truncated")
    assert 1.0 < seconds(found) < 2.5 and found.fault == problem.detail
    assert f"{seconds(found):.3f} s" in problem.detail and "are there" in problem.detail
    if promises:
        assert found.promised_s == pytest.approx(4.0, abs=0.08) and " of 4.0" in problem.detail
    else:
        assert found.promised_s is None
    if format in ("WAV", "FLAC"):  # what is stored without loss is the very beginning
        there = found.decoded.samples_N
        np.testing.assert_array_equal(there * 32_768, NOISE[: there.size])


@pytest.mark.parametrize(("name", "options"), [("x.m4a", ("-movflags", "+faststart")), ("x.webm", ())])
def test_what_ffmpeg_decodes_is_given_as_far_as_it_goes(tmp_path, name, options):
    data = by_ffmpeg(tmp_path, name, *options)
    (found,) = cut(data[: int(0.6 * len(data))], name, "truncated")
    assert 1.5 < seconds(found) < 3.0 and found.promised_s == pytest.approx(4.0, abs=0.05)


def test_what_has_no_usable_sound_cannot_be_accepted(tmp_path):
    # An MP4 whose index came last has nothing without it, however many bytes of sound there are.
    data = by_ffmpeg(tmp_path, "x.m4a")
    (found,) = cut(data[: int(0.9 * len(data))], "x.m4a", "truncated")
    assert isinstance(found, AudioProblem) and found.reason == "decode_error"
    assert "of the box 'mdat'" in found.detail and "does not decode as mp4" in found.detail
    (found,) = cut(encoded("FLAC")[:1_000], "x.flac", "truncated")
    assert isinstance(found, AudioProblem) and found.reason in ("no_frames", "decode_error"), found


@pytest.mark.parametrize(("format", "name"), [("WAV", "x.flac"), ("MP3", "x.wav"), ("FLAC", "x.mp3")])
def test_a_misnamed_recording_is_decoded_by_what_it_holds(format, name):
    data = encoded(format)
    (problem,) = cut(data, name)
    assert isinstance(problem, AudioProblem) and problem.reason == "wrong_extension"
    (found,) = cut(data, name, "wrong_extension")
    assert isinstance(found, Forgiven) and found.promised_s is None
    (good,) = cut(data, "x")
    assert isinstance(good, Decoded)
    np.testing.assert_array_equal(found.decoded.samples_N, good.samples_N)


def test_a_misnamed_recording_of_whose_frames_none_is_found_promises_nothing():
    data = bytearray(encoded("MP3", "MPEG_LAYER_III"))
    second = mpeg_frame(data, mpeg_frame(data, 0))
    data[second - 1 :] = b"\0" + data[second:]  # a byte more: the frames are no longer where the first says
    first = mpeg_frame(data, 0)
    data[first : first + 2] = b"\0\0"
    (found,) = cut(bytes(data), "x.wav", "wrong_extension")
    assert isinstance(found, Forgiven) and found.promised_s is None


def mpeg_frame(data: bytes, position: int) -> int:
    """Where the frame ends that begins at ``position``."""
    header = mpeg._mpeg_header(bytes(data), position)
    assert header is not None
    return position + header.frame_bytes


def test_samples_declared_headerless_are_decoded_by_their_header():
    raw = RawFormat.parse("s16le/8000/2")
    (found,) = cut(encoded("WAV"), "x.raw", "wrong_extension", raw=raw)
    assert isinstance(found, Forgiven) and found.decoded.rate_hz == RATE and seconds(found) == 4.0
    assert "declared to be headerless samples" in found.fault


def test_one_fault_accepted_is_not_the_other():
    (found,) = cut(encoded("WAV")[:-20_000], "x.wav", "wrong_extension")
    assert isinstance(found, AudioProblem) and found.reason == "truncated"
    # Who accepts the cut is told of the name with it: there is one decision about a recording.
    (found,) = cut(encoded("WAV")[:-20_000], "x.flac", "truncated")
    assert isinstance(found, Forgiven) and "is named .flac but holds wav" in found.fault


def test_damage_is_no_end():
    data = bytearray(encoded("FLAC"))
    data[60_000:60_100] = bytes(100)
    (found,) = cut(bytes(data), "x.wav", "wrong_extension")
    assert isinstance(found, AudioProblem) and found.reason == "decode_error"


def test_segments_are_given_as_far_as_they_go():
    half = encoded("WAV")[: 44 + 2 * RATE * 2]
    within, across, beyond = cut(
        half, "x.wav", "truncated", Segment(0.5, 1.5), Segment(1.0, 3.0), Segment(2.5, 3.5)
    )
    assert (seconds(within), within.promised_s) == (1.0, 1.0)
    assert (seconds(across), across.promised_s) == (1.0, 2.0)
    assert "1.000 s of 2.000 s are there" in across.fault
    assert isinstance(beyond, AudioProblem) and beyond.reason == "bad_segment"
    assert "promises 128000 bytes of samples and has 64000" in beyond.detail


def test_a_segment_is_the_same_whichever_others_are_asked_for():
    data = encoded("FLAC")
    cut_short = data[: int(0.6 * len(data))]
    (alone,) = cut(cut_short, "x.flac", "truncated", Segment(1.0))
    (beside, *_) = cut(cut_short, "x.flac", "truncated", Segment(1.0), Segment(), Segment(0.3, 0.7))
    np.testing.assert_array_equal(alone.decoded.samples_N, beside.decoded.samples_N)
    assert alone.fault == beside.fault and alone.promised_s == beside.promised_s
