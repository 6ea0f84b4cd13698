"""The stored form: 22,050 Hz and 16 bit without clipping, under the name of its content."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf

from assets.audio.settings import AudioSettings
from assets.audio.write import render, write_wav
from validation.digests import digest_bytes
from validation.measures import measure

RATE = 22_050


def to_stored_form(samples, rate):
    return render(samples, rate, AudioSettings(), measure(samples, rate)).stored_N


def test_sixteen_bit_audio_at_the_stored_rate_keeps_its_very_samples():
    pcm = np.random.default_rng(0).integers(-32_768, 32_768, 5_000).astype(np.int16)
    np.testing.assert_array_equal(to_stored_form(pcm.astype(np.float32) / 32_768, RATE), pcm)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_a_tone_keeps_its_level_and_length(rate):
    time = np.arange(rate) / rate
    stored = to_stored_form((0.25 * np.sin(2 * np.pi * 440 * time)).astype(np.float32), rate)
    assert abs(stored.size - RATE) <= 1
    middle = stored[2_000:-2_000].astype(np.float64) / 32_768
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.25 / np.sqrt(2), rel=1e-3)


@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_what_would_overshoot_full_scale_is_made_quieter_not_clipped(gain):
    square = (gain * np.sign(np.sin(2 * np.pi * 300 * np.arange(8_000) / 8_000))).astype(np.float32)
    stored = to_stored_form(square, 8_000)
    assert np.abs(stored.astype(np.int32)).max() in (32_767, 32_768)
    at_the_edge = np.abs(stored.astype(np.int32)) >= 32_767
    assert not np.any(at_the_edge[1:] & at_the_edge[:-1])  # peaks, no plateaus


def test_non_finite_samples_become_silence():
    samples = np.array([0.5, np.nan, -np.inf, 0.5] * 100, dtype=np.float32)
    np.testing.assert_array_equal(to_stored_form(samples, RATE)[:4], [16_384, 0, 0, 16_384])


def test_a_single_sample_is_stored():
    assert to_stored_form(np.zeros(1, dtype=np.float32), 192_000).size >= 1


def test_files_are_named_by_their_samples_and_written_once(lake):
    pcm = np.arange(-500, 500, dtype=np.int16)
    stored = write_wav(lake, "made", pcm)
    assert stored.digest == digest_bytes(pcm.tobytes())
    assert stored.path == f"audio_22k/made/{stored.digest[:2]}/{stored.digest}.wav"
    back, rate = sf.read(lake.uri(stored.path), dtype="int16")
    assert (rate, stored.frames) == (RATE, 1_000)
    np.testing.assert_array_equal(back, pcm)
    with lake.open(stored.path) as stream:
        before = stream.read()
    assert write_wav(lake, "made", pcm) == stored
    with lake.open(stored.path) as stream:
        assert stream.read() == before
