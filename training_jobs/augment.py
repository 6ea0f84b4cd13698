"""A variant of a recording from the values that were drawn for it: the same values, the same samples.

Order: speed, pitch, formant (the speaker), noise (the place), band (the line), gain (the knob). Nothing of it is
random. No sample of a variant exceeds :data:`CEILING_DBFS`: what would be louder is turned down as a whole, so that the
gain is limited and the signal-to-noise ratio stays.

Shapes: N samples of the recording, M of the variant, F frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from training_jobs.augment_formants import move_formants
from training_jobs.augment_voice import move_pitch, play_faster
from validation.augmentation.record import Augmentation, MixedNoise

Samples = NDArray[np.float32]
# Gives a piece of the noise, as many samples as asked for at the rate asked for.
ReadNoise = Callable[[MixedNoise, int, int], Samples]

CEILING_DBFS = -1.0
_FRAME_S = 0.032
_LOUD = 0.95  # quantile of the frames' power
_ACTIVE_BELOW_LOUD_DB = 15.9  # the margin of ITU-T P.56, which tells speech from its pauses
# Of the filters: what lies beyond a frequency is this far down, and what lies this far inside is untouched.
_STOP_DB, _TRANSITION_HZ = 70.0, 100.0


def augmented(waveform_N: Samples, rate_hz: int, drawn: Augmentation, read_noise: ReadNoise) -> Samples:
    """The variant, at the same rate; its length follows from the speed alone.

    Args:
        waveform_N: Mono, full scale = 1.
    """
    samples = waveform_N.astype(np.float32)
    if drawn.speed is not None:
        samples = play_faster(samples, drawn.speed, drawn.frames_of(samples.size))
    if drawn.pitch is not None:
        samples = move_pitch(samples, rate_hz, drawn.pitch)
    # A pitch that moves takes the envelope with it, which is brought back here.
    if formant := (drawn.formant or 0.0) - (drawn.pitch or 0.0):
        samples = move_formants(samples, rate_hz, formant)
    if drawn.noise is not None:
        piece = read_noise(drawn.noise, samples.size, rate_hz)
        samples = with_noise(samples, rate_hz, piece, drawn.noise.snr_db)
    if drawn.band is not None:
        samples = within_band(samples, rate_hz, *drawn.band)
    if drawn.gain is not None:
        samples = samples * np.float32(10 ** (drawn.gain / 20))
    return below_ceiling(samples)


def with_noise(samples_N: Samples, rate_hz: int, noise_N: Samples, snr_db: float) -> Samples:
    """The recording with noise as far below its speech; one without any sound stays as it is."""
    noise_power = float(np.mean(np.square(noise_N, dtype=np.float64)))
    assert noise_power > 0.0, "a piece of noise without sound"
    wanted = speech_power(samples_N, rate_hz) / 10 ** (snr_db / 10)
    return (samples_N + np.float32(math.sqrt(wanted / noise_power)) * noise_N).astype(np.float32)


def speech_power(samples_N: Samples, rate_hz: int) -> float:
    """Mean square of the frames of 32 ms within 15.9 dB of the loud ones: of the speech without its pauses."""
    width = max(min(round(_FRAME_S * rate_hz), samples_N.size), 1)
    frames_FW = samples_N[: samples_N.size // width * width].reshape(-1, width)
    power_F = np.sort(np.mean(np.square(frames_FW, dtype=np.float64), axis=1))
    loud = power_F[round(_LOUD * (power_F.size - 1))]
    return float(power_F[power_F >= loud * 10 ** (-_ACTIVE_BELOW_LOUD_DB / 10)].mean())


def within_band(samples_N: Samples, rate_hz: int, low_hz: float, high_hz: float) -> Samples:
    """What lies between two frequencies, not delayed; ``low_hz`` 0 is no lower limit."""
    from scipy.signal import firwin, kaiserord, oaconvolve

    nyquist_hz = rate_hz / 2
    if high_hz >= nyquist_hz and low_hz <= 0:
        return samples_N
    taps, beta = kaiserord(_STOP_DB, _TRANSITION_HZ / nyquist_hz)
    # Half of the transition inside each edge: at the edge itself it is over.
    edges = [low_hz + _TRANSITION_HZ / 2] if low_hz > 0 else []
    edges += [high_hz - _TRANSITION_HZ / 2] if high_hz < nyquist_hz else []
    passes_low = low_hz <= 0
    response = firwin(taps | 1, edges, window=("kaiser", beta), pass_zero=passes_low, fs=rate_hz)
    return np.asarray(oaconvolve(samples_N, response.astype(np.float32), mode="same"), dtype=np.float32)


def below_ceiling(samples_N: Samples) -> Samples:
    """The waveform, turned down where a sample exceeds the ceiling."""
    peak = float(np.max(np.abs(samples_N), initial=0.0))
    ceiling = 10 ** (CEILING_DBFS / 20)
    return samples_N if peak <= ceiling else (samples_N * np.float32(ceiling / peak)).astype(np.float32)
