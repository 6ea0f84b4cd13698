"""What libsndfile does not know is decoded by ffmpeg, with the same reasons for the same faults."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import psutil
import pytest
import soundfile as sf

from assets.audio import ffmpeg
from assets.audio.decode import open_source
from assets.audio.ffmpeg import FfmpegMissingError
from assets.audio.problem import AudioFaultError, AudioProblem
from assets.audio.segments import Decoded, Segment
from assets.audio.source_file import Place, SourceFile, opened_container, opened_source
from validation.digests import digest_bytes

RATE = 16_000
SECONDS = 6.0
KINDS = {
    "x.m4a": ["-c:a", "aac"],
    "fast.m4a": ["-c:a", "aac", "-movflags", "+faststart"],
    "lossless.m4a": ["-c:a", "alac"],
    "x.webm": ["-c:a", "libopus", "-ar", "48000"],
    "x.mka": ["-c:a", "flac"],
    "x.wma": ["-c:a", "wmav2"],
    "x.aac": ["-c:a", "aac"],
    "x.amr": ["-c:a", "libopencore_amrnb", "-ar", "8000"],
    "x.wv": ["-c:a", "wavpack"],
    "g726.wav": ["-c:a", "adpcm_g726", "-ar", "8000"],
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A rising tone in each kind."""
    folder = tmp_path_factory.mktemp("kinds")
    time = np.arange(round(SECONDS * RATE)) / RATE
    sf.write(folder / "tone.wav", 0.5 * np.sin(2 * np.pi * (300 + 100 * time) * time), RATE)
    found = {}
    for name, arguments in KINDS.items():
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", folder / "tone.wav", *arguments]
        subprocess.run([*command, folder / name], check=True)
        found[name] = (folder / name).read_bytes()
    return found


def cut(data: bytes, name: str, *wanted: Segment) -> list[Decoded | AudioProblem]:
    try:
        with open_source(SourceFile.of_bytes(data), name) as source:
            found = dict(source.cut(wanted or (Segment(),)))
    except AudioFaultError as error:
        return [error.problem]
    return [found[index] for index in range(len(found))]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_decodes_to_its_length(recordings, name):
    (found,) = cut(recordings[name], name)
    assert isinstance(found, Decoded), found
    assert found.samples_N.size / found.rate_hz == pytest.approx(SECONDS, abs=0.15)
    assert np.sqrt(np.mean(found.samples_N**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.3)
    assert found.channels == 1 and not found.format.endswith("UNKNOWN")


def test_lossless_ones_have_the_very_samples(recordings):
    (found,) = cut(recordings["lossless.m4a"], "x.m4a")
    (flac,) = cut(recordings["x.mka"], "x.mka")
    assert isinstance(found, Decoded) and isinstance(flac, Decoded)
    np.testing.assert_array_equal(found.samples_N, flac.samples_N)
    assert (found.rate_hz, found.format) == (RATE, "MP4/ALAC")


@pytest.mark.parametrize("name", ["x.m4a", "x.webm", "x.wma"])
def test_segments_are_cut_while_it_is_decoded_once(recordings, name, monkeypatch):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(ffmpeg.subprocess, "Popen", lambda *a, **k: started.append(1) or popen(*a, **k))
    wanted = [Segment(3.5, 4.0), Segment(0.5, 1.5), Segment(1.0, 2.0), Segment(5.5)]
    found = cut(recordings[name], name, *wanted)
    assert len(started) == 1
    for segment, one in zip(wanted, found, strict=True):
        (alone,) = cut(recordings[name], name, segment)
        np.testing.assert_array_equal(one.samples_N, alone.samples_N)
    outside, reversed_, far = cut(recordings[name], name, Segment(5, 7), Segment(3, 2), Segment(60, 70))
    assert [one.reason for one in (outside, reversed_, far)] == ["bad_segment"] * 3
    assert outside.value == 7 and outside.limit == pytest.approx(SECONDS, abs=0.1) == far.limit


@pytest.mark.parametrize("name", ["x.m4a", "fast.m4a", "x.webm", "x.mka", "g726.wav"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_half_a_recording_is_truncated(recordings, name, share):
    data = recordings[name]
    (found,) = cut(data[: int(share * len(data))], name)
    assert isinstance(found, AudioProblem) and found.reason == "truncated", found
    assert found.value is not None and found.limit is not None and found.value < found.limit


def test_a_header_that_states_more_than_there_is_is_caught(recordings):
    """Cut, and its sizes made right again, as a careless tool leaves it: only the duration tells."""
    data = bytearray(recordings["x.webm"])
    segment = data.index(b"\x18\x53\x80\x67") + 4
    data[segment : segment + 8] = b"\x01" + b"\xff" * 7  # of unknown size, as in a stream
    (found,) = cut(bytes(data[: data.rindex(b"\xa3", 0, len(data) * 2 // 3)]), "x.webm")
    assert isinstance(found, AudioProblem) and found.reason in ("truncated", "decode_error"), found
    assert found.reason == "decode_error" or found.limit == pytest.approx(SECONDS, abs=0.1)


def test_a_wrong_extension_is_named(recordings):
    assert cut(recordings["x.m4a"], "x.webm")[0].reason == "wrong_extension"
    assert cut(recordings["x.webm"], "x.m4a")[0].reason == "wrong_extension"


def test_damage_has_the_same_words_in_every_run(recordings):
    data = bytearray(recordings["lossless.m4a"])
    data[20_000:21_000] = b"\xff" * 1_000
    details = {cut(bytes(data), "x.m4a")[0].detail for _ in range(2)}
    assert len(details) == 1 and "0x" not in details.pop()


def test_a_playlist_is_no_recording(tmp_path):
    secret = tmp_path / "secret.wav"
    sf.write(secret, np.ones(8_000) * 0.5, 8_000)
    for text in (f"#EXTM3U\n#EXTINF:1,\n{secret}\n", f"ffconcat version 1.0\nfile '{secret}'\n"):
        assert cut(text.encode(), "x.m4a")[0].reason == "not_audio"
        hidden = b"\0\0\0\x10ftypM4A \0\0\0\0" + text.encode()
        assert cut(hidden, "x.m4a")[0].reason in ("truncated", "decode_error")


def test_nothing_is_left_running(recordings):
    before = {child.pid for child in psutil.Process().children()}
    with open_source(SourceFile.of_bytes(recordings["x.m4a"]), "x.m4a") as source:
        next(source.cut([Segment(0.0, 0.5)]))
    assert {child.pid for child in psutil.Process().children()} <= before


def test_more_memory_than_is_allowed_ends_ffmpeg_not_the_machine(recordings, monkeypatch):
    monkeypatch.setattr(ffmpeg, "_MEMORY_LIMIT_BYTES", 16 << 20)
    (found,) = cut(recordings["x.m4a"], "x.m4a")
    assert isinstance(found, AudioProblem) and found.reason == "decode_error"


def test_an_ffmpeg_that_crashes_is_a_reason_that_names_the_signal(recordings, monkeypatch, tmp_path):
    crashes = tmp_path / "ffmpeg"
    crashes.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crashes.chmod(0o700)
    monkeypatch.setattr(ffmpeg, "_executable", lambda: str(crashes))
    (found,) = cut(recordings["x.m4a"], "x.m4a")
    assert found.reason == "decode_error"
    assert "signal 11 ended ffmpeg" in found.detail


def test_what_tags_say_is_not_taken_for_what_ffmpeg_says(recordings, tmp_path):
    (tmp_path / "x.m4a").write_bytes(recordings["x.m4a"])
    told = tmp_path / "told.m4a"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", tmp_path / "x.m4a", "-c", "copy"]
    tags = ["-metadata", "title=x\n  Duration: 01:00:00.00\nOutput #0", "-metadata", "comment=Audio: opus"]
    subprocess.run([*command, *tags, told], check=True)
    (found,) = cut(told.read_bytes(), "x.m4a")
    assert isinstance(found, Decoded) and found.format == "MP4/AAC", found


@pytest.mark.parametrize("has_one", [True, False])
def test_an_ffmpeg_that_does_not_start_is_no_fault_of_the_recording(
    recordings, monkeypatch, tmp_path, has_one
):
    source = tmp_path / "x.m4a"
    source.write_bytes(recordings["x.m4a"])
    place = Place(str(source))
    ffmpeg._executable.cache_clear()
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tmp_path / "none"))
    if not has_one:
        monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", no_ffmpeg)
    try:
        with (
            pytest.raises(FfmpegMissingError, match=r"none|no ffmpeg"),
            opened_container(place.uri) as container,
            opened_source(container, place, digest_bytes(recordings["x.m4a"])) as file,
            open_source(file, "x.m4a"),
        ):
            pass
    finally:
        ffmpeg._executable.cache_clear()


def no_ffmpeg() -> str:
    raise RuntimeError("No ffmpeg exe could be found")


def test_formats_of_the_real_recordings_all_decode(make):
    folder = make.shared("formats")
    names = sorted(
        path for path in folder.rglob("*") if path.suffix not in (".tsv", ".raw") and path.is_file()
    )
    problems = {}
    for path in names:
        (found,) = cut(Path(path).read_bytes(), path.name)
        if isinstance(found, AudioProblem):
            problems[path.name] = found
    assert len(names) == 21 and not problems
