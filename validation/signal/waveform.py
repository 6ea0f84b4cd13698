"""What all signal measures share: the form of a waveform, decibels, and what is done about samples that are no numbers.

Shapes: N samples. Waveforms are float32, mono, full scale = 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]
Floats = NDArray[np.float32] | NDArray[np.float64]

FLOOR_DBFS = -120.0  # the level of digital silence
_LARGEST_SAMPLE = 1e6


def decibels(power: float) -> float:
    """``10 log10(power)``, not below :data:`FLOOR_DBFS`."""
    return max(10.0 * math.log10(power), FLOOR_DBFS) if power > 0 else FLOOR_DBFS


def ratio_db(power: float, reference: float, limit_db: float) -> float:
    """``10 log10(power / reference)``, within plus and minus ``limit_db``; 0 where both are nothing."""
    if power <= 0.0 or reference <= 0.0:
        return limit_db * float(np.sign(power - reference))
    return min(max(10.0 * math.log10(power / reference), -limit_db), limit_db)


def quantile(sorted_F: Floats, share: float) -> float:
    """The nearest value of sorted ones; numpy's interpolating quantile costs more than a whole measure."""
    return float(sorted_F[round(share * (sorted_F.size - 1))])


def without_nonfinite(samples_N: Waveform) -> tuple[Waveform, int]:
    """The recording with 0 in place of each sample that is no number, and how many those were.

    NaN, infinite, and anything beyond a million times full scale: no recording has it, and its square overflows.
    """
    # One dot product says whether there is any; the mask is made only then.
    with np.errstate(over="ignore", invalid="ignore"):
        if float(np.dot(samples_N, samples_N)) < _LARGEST_SAMPLE**2:
            return samples_N, 0
        usable_N = np.abs(samples_N) <= _LARGEST_SAMPLE
    clean_N: Waveform = np.where(usable_N, samples_N, np.float32(0.0)).astype(np.float32)
    return clean_N, int(samples_N.size - np.count_nonzero(usable_N))
