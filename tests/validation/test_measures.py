"""Signal measures against signals whose values can be worked out on paper."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from validation.measures import measure

RATE = 16_000


def tone(amplitude: float = 0.5, hertz: float = 250.0, seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def noise(level: float, seconds: float = 4.0, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(int(seconds * RATE))).astype(np.float32)


def syllables(amplitude: float = 0.5, seconds: float = 4.0) -> np.ndarray:
    """A tone that is there every other half second, with soft edges: hard ones would rumble."""
    gate = np.arange(int(seconds * RATE)) // (RATE // 2) % 2
    soft = np.hanning(1_600) / np.hanning(1_600).sum()
    return tone(amplitude, 440.0, seconds) * np.convolve(gate, soft, mode="same")


def test_level_and_peak_of_a_sine():
    found = measure(tone(0.5), RATE)
    assert found.duration_s == 1.0
    assert found.peak_dbfs == pytest.approx(20 * math.log10(0.5), abs=0.01)
    assert found.level_dbfs == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.01)
    assert found.clipped_share == 0.0
    assert found.silence_share == 0.0


def test_digital_silence_has_the_floor_level_and_no_band():
    found = measure(np.zeros(RATE, dtype=np.float32), RATE)
    assert (found.level_dbfs, found.peak_dbfs, found.silence_share) == (-120.0, -120.0, 1.0)
    assert (found.snr_db, found.bandwidth_hz, found.clipped_share) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("scale", [1.0, 0.3, 0.05])
@pytest.mark.parametrize("offset", [0.0, 0.02])
def test_hard_clipping_is_found_at_whatever_level_it_was_scaled_to(scale, offset):
    clipped = np.clip(tone(2.0), -1.0, 1.0) * scale + np.float32(offset)
    # |sin| >= 1/2 for two thirds of the time.
    assert measure(clipped.astype(np.float32), RATE).clipped_share == pytest.approx(2 / 3, abs=0.02)


def test_one_sided_clipping_is_found():
    assert measure(np.minimum(tone(0.9), np.float32(0.45)), RATE).clipped_share == pytest.approx(
        1 / 3, abs=0.02
    )


def test_the_flat_tops_of_quiet_sixteen_bit_audio_are_not_clipping():
    quiet = np.round(tone(0.0005) * 32_768) / 32_768
    assert measure(quiet.astype(np.float32), RATE).clipped_share == 0.0


def test_dc_offset_is_the_mean_and_moves_neither_band_nor_silence():
    still, moved = measure(tone(0.1), RATE), measure(tone(0.1) + np.float32(0.25), RATE)
    assert moved.dc_offset == pytest.approx(0.25, abs=1e-4)
    assert (moved.bandwidth_hz, moved.silence_share) == (still.bandwidth_hz, still.silence_share)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_silence_share_is_the_share_of_time_without_sound(share):
    signal = tone(0.5, seconds=4.0)
    signal[: int(share * signal.size)] = 0
    assert measure(signal, RATE).silence_share == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("decibels", [20.0, 30.0, 40.0])
def test_snr_of_syllables_over_noise_is_their_ratio(decibels):
    level = 0.5 / math.sqrt(2) * 10 ** (-decibels / 20)
    found = measure((syllables() + noise(level)).astype(np.float32), RATE)
    assert found.snr_db == pytest.approx(decibels, abs=1.5)


def test_pauses_that_are_nearly_as_loud_as_the_speech_count_as_speech():
    level = 0.5 / math.sqrt(2) * 10 ** (-10.0 / 20)
    # Half of it is pause, and 3 dB of the ratio are lost.
    assert measure((syllables() + noise(level)).astype(np.float32), RATE).snr_db == pytest.approx(
        7.0, abs=1.0
    )


def test_padding_with_digital_silence_is_not_taken_for_a_quiet_room():
    spoken = syllables() + noise(0.003)
    padded = np.concatenate([np.zeros(4 * RATE), spoken]).astype(np.float32)
    assert measure(padded, RATE).snr_db == pytest.approx(
        measure(spoken.astype(np.float32), RATE).snr_db, abs=0.5
    )


def test_steady_noise_has_no_signal():
    assert measure(noise(0.1), RATE).snr_db < 0.0


@pytest.mark.parametrize("decibels", [-5.0, 5.0, 20.0])
def test_rumble_counts_as_noise_though_it_is_there_in_every_frame(decibels):
    level = 0.5 * 10 ** (-decibels / 20)
    found = measure((syllables() + tone(level, hertz=30.0, seconds=4.0)).astype(np.float32), RATE)
    assert found.snr_db == pytest.approx(decibels, abs=1.0)
    assert found.rumble_db == pytest.approx(-decibels, abs=1.0)


@pytest.mark.parametrize("mains", [50.0, 60.0])
@pytest.mark.parametrize("decibels", [-30.0, -10.0, 0.0])
def test_hum_is_the_power_of_the_mains_lines_over_the_sound(mains, decibels):
    level = 0.5 * 10 ** (decibels / 20) / math.sqrt(2)
    hum = tone(level, hertz=mains, seconds=4.0) + tone(level, hertz=3 * mains, seconds=4.0)
    found = measure((tone(0.5, 440.0, 4.0) + hum + noise(1e-4)).astype(np.float32), RATE)
    # The third harmonic, half of it, lies above 80 Hz: it is in the power of the sound as well.
    wanted = -10 * math.log10(10 ** (-decibels / 10) + 0.5)
    assert found.hum_db == pytest.approx(wanted, abs=0.8)


def test_a_voice_that_moves_over_a_mains_line_is_no_hum():
    time = np.arange(4 * RATE) / RATE
    pitch = 100 + 25 * np.sin(2 * np.pi * 0.7 * time)
    voice = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * (np.sin(2 * np.pi * 2 * time) > -0.5)
    assert measure((voice + noise(1e-3)).astype(np.float32), RATE).hum_db < -20.0


def test_hum_is_not_looked_for_in_a_word():
    assert measure(tone(0.5, seconds=1.0), RATE).hum_db is None


def test_a_dropout_breaks_off_the_sound():
    signal = tone(0.5, seconds=2.0)
    signal[RATE : RATE + 800] = 0.0  # 50 ms
    found = measure(signal, RATE)
    assert found.dropout_s == pytest.approx(0.05, abs=0.001)
    assert found.longest_dropout_s == pytest.approx(0.05, abs=0.001)


def test_a_repeated_sample_is_a_dropout_as_zero_is():
    signal = tone(0.5, seconds=2.0) + noise(1e-3, 2.0)
    signal[RATE : RATE + 321] = signal[RATE]
    assert measure(signal, RATE).dropout_s == pytest.approx(321 / RATE, abs=1e-4)


def test_padding_and_gated_pauses_are_no_dropouts():
    fade = np.minimum(np.arange(2 * RATE) / 800, np.arange(2 * RATE)[::-1] / 800).clip(0, 1)
    word = (tone(0.5, seconds=2.0) * fade**2).astype(np.float32)
    zeros = np.zeros(RATE, dtype=np.float32)
    found = measure(np.concatenate([zeros, word, zeros, word, zeros]), RATE)
    assert (found.dropout_s, found.longest_dropout_s) == (0.0, 0.0)
    assert found.leading_silence_s == pytest.approx(1.0, abs=0.04)
    assert found.trailing_silence_s == pytest.approx(1.0, abs=0.04)


def test_the_longest_run_at_the_ceiling_is_told():
    signal = tone(0.9, seconds=1.0)
    signal[1_000:1_400] = 0.9
    found = measure(signal, RATE)
    assert found.longest_clip_s == pytest.approx(400 / RATE, abs=0.002)


def test_dynamic_range_is_that_of_the_sound_without_its_silence():
    soft, loud = tone(0.05, seconds=1.0), tone(0.5, seconds=1.0)
    silence = np.zeros(RATE, dtype=np.float32)
    assert measure(np.concatenate([soft, silence, loud]), RATE).dynamic_range_db == pytest.approx(
        20.0, abs=0.5
    )
    assert measure(loud, RATE).dynamic_range_db < 0.1


def test_crest_is_the_peak_over_the_level():
    assert measure(tone(0.5), RATE).crest_db == pytest.approx(3.01, abs=0.01)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_telephone_speech_at_a_high_rate_carries_half_of_what_it_could(rate):
    taps = scipy.signal.firwin(801, 3_600, fs=rate, window=("kaiser", 10.0))
    narrow = scipy.signal.lfilter(taps, 1.0, 0.1 * np.random.default_rng(0).standard_normal(2 * rate))
    assert measure(narrow.astype(np.float32), rate).bandwidth_share == pytest.approx(0.46, abs=0.04)


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_a_full_band_is_a_whole_share(rate):
    full = (0.1 * np.random.default_rng(0).standard_normal(2 * rate)).astype(np.float32)
    assert measure(full, rate).bandwidth_share == 1.0


@pytest.mark.parametrize("edge", [1_500, 3_400, 6_000])
def test_bandwidth_is_the_edge_of_band_limited_noise(edge):
    taps = scipy.signal.firwin(1_001, edge, fs=RATE, window=("kaiser", 10.0))
    limited = scipy.signal.lfilter(taps, 1.0, noise(0.1)).astype(np.float32)
    assert measure(limited, RATE).bandwidth_hz == pytest.approx(edge + 5 * RATE / 512, abs=100)


def test_a_long_recording_is_sampled_for_its_band():
    assert measure(tone(0.5, hertz=1_000, seconds=60), RATE).bandwidth_hz == pytest.approx(1_000, abs=100)


def test_non_finite_samples_are_counted_and_poison_nothing():
    signal = tone(0.5)
    clean = measure(signal, RATE)
    signal[[10, 20]] = np.nan, np.inf
    found = measure(signal, RATE)
    assert found.nonfinite_samples == 2
    assert found.level_dbfs == pytest.approx(clean.level_dbfs, abs=0.01)
    assert math.isfinite(found.dc_offset) and math.isfinite(found.bandwidth_hz)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e7, 1e30, 3e38, np.inf, np.nan])
def test_samples_that_no_recording_has_are_counted_not_squared(size):
    signal = tone(0.5)
    signal[100] = size
    found = measure(signal, RATE)
    assert found.nonfinite_samples == 1
    assert found.level_dbfs == pytest.approx(-9.03, abs=0.02)


@pytest.mark.filterwarnings("error")
@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 3_000),
    rate=st.sampled_from([2_000, 8_000, 22_050, 384_000]),
    scale=st.sampled_from([0.0, 1e-6, 0.1, 1.0, 50.0]),
    seed=st.integers(0, 99),
)
def test_every_recording_has_measures_in_range(size, rate, scale, seed):
    signal = (scale * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)
    found = measure(signal, rate)
    assert 0 <= found.clipped_share <= 1 and 0 <= found.silence_share <= 1 and -1 <= found.dc_offset <= 1
    assert -100 <= found.snr_db <= 100 and -100 <= found.rumble_db <= 100
    assert found.hum_db is None or -100 <= found.hum_db <= 100
    assert 0 <= found.dropout_s <= found.duration_s and 0 <= found.bandwidth_share <= 1
    assert min(found.leading_silence_s, found.trailing_silence_s, found.dynamic_range_db) >= 0
    assert 0 <= found.bandwidth_hz <= rate / 2
    assert found.peak_dbfs >= found.level_dbfs - 1e-3
