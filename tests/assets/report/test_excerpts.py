"""Excerpts: the same samples give the same bytes, and what cannot be played says why."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from assets.audio.segments import Segment
from assets.audio.work import Recording
from assets.report.excerpts import Excerpt, NoExcerpt, excerpt_of, source_excerpts


def recording(path: Path, segment: Segment | None = None, digest: str | None = None) -> Recording:
    data = path.read_bytes() if path.exists() else b""
    digest = digest or hashlib.sha256(data).hexdigest()
    return Recording(str(path), None, len(data), digest, None, (segment or Segment(),))


def samples(excerpt: Excerpt) -> np.ndarray:
    found, rate = sf.read(io.BytesIO(base64.b64decode(excerpt.mp3)))
    assert rate == 22_050
    return found


def test_the_same_samples_give_the_same_bytes(make: Any) -> None:
    wave = make.speech_like(1.0, 22_050)
    first, second = (excerpt_of(wave.copy(), 22_050, 1.0, "here") for _ in range(2))
    assert first == second
    assert base64.b64decode(first.spectrum).startswith(b"\x89PNG")
    assert len(samples(first)) / 22_050 == pytest.approx(1.0, abs=0.1)


def test_damaged_and_tiny_recordings_are_drawn_too() -> None:
    for wave in (np.zeros(1, np.float32), np.array([np.nan, np.inf, 9.0] * 400, np.float32)):
        found = excerpt_of(wave, 16_000, None, "here")
        assert np.isfinite(samples(found)).all() and min(low for low, _ in found.wave) >= -1


def test_sources_play_as_far_as_they_decode_and_others_say_why(tmp_path: Path, make: Any) -> None:
    good = make.speech(tmp_path / "good.wav", seconds=20.0)
    cut = tmp_path / "cut.flac"
    cut.write_bytes(make.speech(tmp_path / "whole.flac", seconds=4.0).read_bytes()[:40_000])
    page = tmp_path / "page.wav"
    page.write_bytes(b"<html>404</html>")
    wanted = [
        recording(good), recording(good, Segment(3.0, 4.5)), recording(cut), recording(page),
        recording(tmp_path / "gone.wav"), recording(good, Segment(1.0, 2.0), digest="0" * 64),
        recording(good, Segment(5.0, 4.0)),
    ]  # fmt: skip
    found = source_excerpts(wanted)
    whole, part, short, *others = (found[one] for one in wanted)
    assert isinstance(whole, Excerpt) and isinstance(part, Excerpt) and isinstance(short, Excerpt)
    assert (whole.seconds, whole.whole_s, part.seconds) == (15.0, 20.0, 1.5)
    assert 0.2 < short.seconds < 4.0
    reasons = [one.why for one in others if isinstance(one, NoExcerpt)]
    for words, why in zip(
        ["does not decode", "is gone", "changed", "nothing of its source"], reasons, strict=True
    ):
        assert words in why
