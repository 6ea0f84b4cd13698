"""Rumble and mains hum, from the recording at about 1 kHz.

Shapes: N samples, L samples at the low rate, F frames, K frequency bins, W samples per frame, M mains, H harmonics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from validation.signal.waveform import Waveform

_LOW_RATE_HZ = 1_000
_WIDTH = 512  # half a second: bins of 2 Hz tell 50 from 60 Hz
_RUMBLE_FROM_HZ = 4.0  # below it lies what a DC offset leaks
_RUMBLE_TO_HZ = 70.0
_MAINS_HZ = (50.0, 60.0)
_HARMONICS = 6
_STEADY_SHARE = 0.2  # hum is there in the pauses too
_PROMINENCE = 4.0  # a line has this times (6 dB) the power beside it
_MIN_FRAMES = 4  # 1.3 s: in less, a vowel looks steady


@dataclass(frozen=True, slots=True)
class LowFrequency:
    """Power that is not the voice's, as mean squares of full scale.

    Attributes:
        rumble_power: From 4 to 70 Hz: wind, handling, traffic, thumps.
        hum_power: Of the steady lines at 50 or 60 Hz and their multiples up to 300 or 360 Hz; ``None`` where the
            recording is too short (1.3 s) to tell a line from a vowel.
    """

    rumble_power: float
    hum_power: float | None


def low_frequency(samples_N: Waveform, rate_hz: int) -> LowFrequency:
    """Welch's periodogram of the recording at about 1 kHz: Hann frames of half a second, half overlapping.

    Rumble is the mean over the frames. A hum line is what the quietest fifth of the frames have at its frequency
    (within 4 Hz), over what they have 8 to 14 Hz beside it: a voice passes through a frequency, the mains stay.
    """
    low_L, low_rate_hz = _at_low_rate(samples_N, rate_hz)
    if low_L.size < _WIDTH:
        low_L = np.pad(low_L, (0, _WIDTH - low_L.size))
    views_FW = np.lib.stride_tricks.sliding_window_view(low_L, _WIDTH)[:: _WIDTH // 2]
    centred_FW = (views_FW - views_FW.mean(axis=1, keepdims=True)) * _WINDOW
    spectrum_FK = scipy.fft.rfft(centred_FW, axis=1)
    power_FK = np.square(spectrum_FK.real) + np.square(spectrum_FK.imag)
    power_FK *= np.float32(2.0 / (_WIDTH * float(np.dot(_WINDOW, _WINDOW))))
    bin_hz = low_rate_hz / _WIDTH
    # A recording shorter than a frame was padded: its power is that of its own length.
    filled = _WIDTH / min(samples_N.size / rate_hz * low_rate_hz, _WIDTH)
    first, end = round(_RUMBLE_FROM_HZ / bin_hz), round(_RUMBLE_TO_HZ / bin_hz)
    rumble = float(power_FK[:, first:end].sum(axis=1).mean()) * filled
    if power_FK.shape[0] < _MIN_FRAMES:
        return LowFrequency(rumble, None)
    steady_K = np.sort(power_FK, axis=0)[round(_STEADY_SHARE * (power_FK.shape[0] - 1))]
    return LowFrequency(rumble, _lines(steady_K, bin_hz))


def _at_low_rate(samples_N: Waveform, rate_hz: int) -> tuple[Waveform, float]:
    """Every so-manieth value of the recording under a triangular window, whose zeros are where aliases would be."""
    factor = max(rate_hz // _LOW_RATE_HZ, 1)
    count = samples_N.size // factor
    if count < 2:
        return samples_N[:1], rate_hz / factor
    rising = (np.arange(factor, dtype=np.float32) + np.float32(0.5)) / np.float32(factor * factor)
    halves_L2 = samples_N[: count * factor].reshape(count, factor) @ np.stack([rising, rising[::-1]], axis=1)
    return halves_L2[:-1, 0] + halves_L2[1:, 1], rate_hz / factor


def _lines(steady_K: NDArray[np.float32], bin_hz: float) -> float:
    """The power of the lines of whichever mains has more."""
    centre_MH = np.rint(_LINES_MH / bin_hz).astype(np.int64)[:, :, None]
    line_MH = steady_K[centre_MH + _LINE].sum(axis=2)
    floor_MH = len(_LINE) * steady_K[centre_MH + _BESIDE].mean(axis=2)
    power_M = np.where(line_MH > _PROMINENCE * floor_MH, line_MH - floor_MH, 0.0).sum(axis=1)
    return float(power_M.max())


_LINES_MH = np.outer(_MAINS_HZ, np.arange(1, _HARMONICS + 1))
_LINE = np.arange(-2, 3)
_BESIDE = np.array([-7, -6, -5, -4, 4, 5, 6, 7])
_WINDOW = np.hanning(_WIDTH + 1)[:-1].astype(np.float32)
