"""What each transform does to a waveform, measured; the same values always give the same samples."""

from __future__ import annotations

import hashlib
import math

import librosa
import numpy as np
import pytest
from augmented_lake import RATE_HZ, hiss
from numpy.typing import NDArray
from scipy.signal import lfilter

from training_jobs.augment import CEILING_DBFS, augmented, speech_power, with_noise, within_band
from training_jobs.augment_formants import move_formants
from training_jobs.augment_voice import move_pitch, play_faster
from validation.augmentation.record import Augmentation, MixedNoise

Samples = NDArray[np.float32]
VOWEL = (
    (500.0, 80.0),
    (1500.0, 90.0),
    (2500.0, 120.0),
    (3500.0, 150.0),
)  # formants and their bandwidths in Hz
CEILING = 10 ** (CEILING_DBFS / 20)


def vowel(
    f0_hz: float = 120.0, seconds: float = 2.0, formants: tuple[tuple[float, float], ...] = VOWEL
) -> Samples:
    """Pulses of a voice through resonances, its pitch moving as a speaker's does."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = np.cumsum(f0_hz * (1 + 0.03 * np.sin(2 * np.pi * 3 * time_s)) / RATE_HZ)
    sound = lfilter([1], [1, -0.97], np.diff(np.floor(phase), prepend=0.0))
    for hz, width_hz in formants:
        radius = math.exp(-math.pi * width_hz / RATE_HZ)
        sound = lfilter([1], [1, -2 * radius * math.cos(2 * math.pi * hz / RATE_HZ), radius**2], sound)
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def pitch_of(samples: Samples) -> NDArray[np.float64]:
    f0, voiced, _ = librosa.pyin(samples, fmin=60, fmax=450, sr=RATE_HZ, frame_length=2048)
    return np.where(voiced, f0, np.nan)


def moved_by(before: Samples, after: Samples) -> float:
    """Semitones between the pitches, frame by frame."""
    first, second = pitch_of(before), pitch_of(after)
    both = min(first.size, second.size)
    return float(np.nanmedian(12 * np.log2(second[:both] / first[:both])))


def formants_of(samples: Samples) -> NDArray[np.float64]:
    """Median of the first three resonances by linear prediction."""
    low = librosa.resample(samples, orig_sr=RATE_HZ, target_sr=8000)
    low = np.append(low[0], low[1:] - 0.97 * low[:-1])
    found = []
    for start in range(1000, low.size - 1000, 400):
        roots = np.roots(
            librosa.lpc((low[start : start + 320] * np.hamming(320)).astype(np.float64), order=10)
        )
        roots = roots[roots.imag > 0.01]
        hz, width_hz = np.angle(roots) * 8000 / 2 / np.pi, -np.log(np.abs(roots)) * 8000 / np.pi
        hz = np.sort(hz[(width_hz < 400) & (hz > 200)])
        if hz.size >= 3:
            found.append(hz[:3])
    return np.median(found, axis=0)


def no_noise(noise: MixedNoise, length: int, rate_hz: int) -> Samples:
    raise AssertionError("no noise was drawn")


@pytest.mark.parametrize("factor", [0.9, 1.1, 0.5, 2.0])
def test_speed_changes_tempo_and_pitch(factor: float) -> None:
    before = vowel()
    after = augmented(before, RATE_HZ, Augmentation(speed=factor), no_noise)
    assert after.size == round(before.size / factor)
    assert play_faster(before, factor, 1000).size == 1000
    moved = 12 * math.log2(np.nanmedian(pitch_of(after)) / np.nanmedian(pitch_of(before)))
    assert moved == pytest.approx(12 * math.log2(factor), abs=0.2)


@pytest.mark.parametrize("f0_hz", [110.0, 220.0])
@pytest.mark.parametrize("semitones", [-3.0, 1.0, 2.5])
def test_pitch_moves_by_what_was_drawn_and_takes_no_time(f0_hz: float, semitones: float) -> None:
    before = vowel(f0_hz)
    after = augmented(before, RATE_HZ, Augmentation(pitch=semitones), no_noise)
    assert after.size == before.size
    assert moved_by(before, after) == pytest.approx(semitones, abs=0.3)
    # The first one lies between two harmonics: which of them is taken for it says nothing.
    assert formants_of(after)[1:] == pytest.approx(formants_of(before)[1:], rel=0.06), (
        "it is the same speaker"
    )
    moved_along = formants_of(move_pitch(before, RATE_HZ, semitones)) / formants_of(before)
    assert 12 * np.log2(moved_along[1]) == pytest.approx(semitones, abs=0.7)


@pytest.mark.parametrize("semitones", [-2.0, 2.0])
def test_formants_move_and_the_pitch_does_not(semitones: float) -> None:
    before = vowel(110.0)
    after = move_formants(before, RATE_HZ, semitones)
    assert after.size == before.size
    assert moved_by(before, after) == pytest.approx(0.0, abs=0.1)
    shifts = 12 * np.log2(formants_of(after) / formants_of(before))
    assert np.mean(shifts) == pytest.approx(semitones, abs=0.5)
    assert np.sqrt(np.mean(after**2)) == pytest.approx(float(np.sqrt(np.mean(before**2))), rel=1e-3)


@pytest.mark.parametrize("snr_db", [-5.0, 5.0, 20.0])
@pytest.mark.parametrize("pauses", [0.0, 0.6])
def test_noise_is_as_far_below_the_speech_as_was_drawn(snr_db: float, pauses: float) -> None:
    speech = vowel(seconds=3.0)
    spoken = speech.copy()
    speech[: round(pauses * speech.size)] = 0.0
    noise = hiss(1, 3.0)
    mixed = with_noise(speech, RATE_HZ, noise, snr_db)
    added = mixed - speech
    part = slice(round(pauses * speech.size), None)
    measured = 10 * np.log10(np.mean(spoken[part] ** 2) / np.mean(added**2))
    assert measured == pytest.approx(snr_db, abs=0.5), "pauses do not count as speech"
    assert np.corrcoef(added, noise)[0, 1] > 0.999


def test_speech_power_of_something_shorter_than_a_frame() -> None:
    assert speech_power(np.full(3, 0.5, np.float32), RATE_HZ) == pytest.approx(0.25)
    assert speech_power(np.zeros(5000, np.float32), RATE_HZ) == 0.0
    silence = np.zeros(5000, np.float32)
    assert not with_noise(silence, RATE_HZ, hiss(1, 1.0)[:5000], 10.0).any()


@pytest.mark.parametrize("band", [(300.0, 3400.0), (0.0, 3000.0), (0.0, 7000.0)])
def test_beyond_a_band_nothing_is_left_and_within_it_all_is(band: tuple[float, float]) -> None:
    before = hiss(2, 3.0)
    after = within_band(before, RATE_HZ, *band)
    assert after.size == before.size
    hz = np.fft.rfftfreq(before.size, 1 / RATE_HZ)
    power_before, power_after = np.abs(np.fft.rfft(before)) ** 2, np.abs(np.fft.rfft(after)) ** 2
    beyond = (hz < band[0]) | (hz > band[1])
    assert 10 * np.log10(power_after[beyond].sum() / power_after.sum()) < -50
    inside = (hz > band[0] + 150) & (hz < band[1] - 150)
    assert 10 * np.log10(power_after[inside].sum() / power_before[inside].sum()) == pytest.approx(0, abs=0.1)
    pulse = np.zeros(4001, np.float32)
    pulse[2000] = 1.0
    assert int(np.argmax(np.abs(within_band(pulse, RATE_HZ, *band)))) == 2000, "not delayed"


def test_a_band_wider_than_the_recording_leaves_it_alone() -> None:
    before = hiss(2, 0.5)
    assert within_band(before, 8000, 0.0, 5000.0) is before


def test_gain_is_what_was_drawn_and_never_clips() -> None:
    before = vowel()
    softer = augmented(before, RATE_HZ, Augmentation(gain=-6.0), no_noise)
    assert softer == pytest.approx(before * 10 ** (-6 / 20), abs=1e-6)
    louder = augmented(before, RATE_HZ, Augmentation(gain=40.0), no_noise)
    assert float(np.max(np.abs(louder))) == pytest.approx(CEILING, rel=1e-5)
    assert np.corrcoef(louder, before)[0, 1] > 0.999999, "turned down as a whole"


@pytest.mark.parametrize("length", [1, 2, 50, 700])
def test_recordings_shorter_than_any_window(length: int) -> None:
    drawn = Augmentation(1.1, 2.0, -1.0, noise("n"), (300.0, 3400.0), 3.0)
    after = augmented(vowel()[1000 : 1000 + length], RATE_HZ, drawn, lambda _, n, rate_hz: hiss(1, 1.0)[:n])
    assert after.size == max(round(length / 1.1), 1)
    assert np.isfinite(after).all()


def test_silence_stays_silence() -> None:
    silence = np.zeros(RATE_HZ, np.float32)
    drawn = Augmentation(0.9, 2.0, -1.0, noise("n"), (300.0, 3400.0), 3.0)
    assert not augmented(silence, RATE_HZ, drawn, lambda _, n, rate_hz: hiss(1, 2.0)[:n]).any()


def test_the_same_values_give_the_same_samples() -> None:
    """Golden: a change of what is computed must come with another VERSION in validation.augmentation.record."""
    drawn = Augmentation(1.1, 2.0, -1.0, noise("n"), (300.0, 3400.0), 3.0)
    made = [augmented(vowel(), RATE_HZ, drawn, lambda _, n, rate_hz: hiss(1, 3.0)[:n]) for _ in range(2)]
    assert len({hashlib.sha256(one.tobytes()).hexdigest() for one in made}) == 1
    assert made[0][8000:36_000:4000] == pytest.approx(GOLDEN, abs=2e-4)


def noise(name: str) -> MixedNoise:
    return MixedNoise("street", name, "CC0-1.0", "audio_22k/street/n.wav", "0" * 64, 0.0, 10.0)


GOLDEN = [-0.05621, 0.05099, -0.13427, 0.14941, -0.06352, 0.08017, -0.04049]
