"""Whether two recordings that sound alike are one, by their waveforms: the second look at what a fingerprint suspects.

A fingerprint hears what a listener hears, and two takes of a sentence by a synthetic voice, which paces and colours
each alike, are alike to it. Their waveforms are not: a coder keeps the phases of the low frequencies, and two takes
never have the same. So the waveforms are laid over one another at the offset that the fingerprints give, and
correlated two seconds at a time, which no two takes stay in step for.

Shapes: N, M samples.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from validation.fingerprint import FRAMES_PER_SECOND

# Below this correlation two recordings are different ones. Measured on real and synthetic speech
# (docs/decisions.md): copies lie above it, takes of the same words below.
LEAST_CORRELATION = 0.92

_RATE_HZ = 4_000
_LOWEST_HZ, _HIGHEST_HZ = 150.0, 1_500.0  # coders of speech keep these phases, at any bit rate in use
_WINDOW_S = 2.0
# The fingerprints' offset may be a frame (16 ms) or two off; clocks of two devices differ by as much within a minute.
_SLACK_S = 0.04
# Lags are tried in quarters of a sample: at 1,500 Hz half a sample is a fifth of a period.
_FINER = 4


def correlation(
    query_N: NDArray[np.float32], clip_M: NDArray[np.float32], rate_hz: int, offset: int
) -> float:
    """How alike the waveforms are where they overlap: 1 for a copy of any gain or polarity, about 0 for strangers.

    Args:
        offset: Frames of a fingerprint (16 ms) by which the query begins after the clip.
    """
    query = _low(query_N, rate_hz)
    clip = _low(clip_M, rate_hz)
    shift = round(offset / FRAMES_PER_SECOND * _RATE_HZ)
    first, last = max(0, -shift), min(query.size, clip.size - shift)
    window, slack = int(_WINDOW_S * _RATE_HZ), int(_SLACK_S * _RATE_HZ)
    padded = np.pad(clip, slack)
    parts = max(1, round((last - first) / window))
    edges = np.linspace(first, last, parts + 1).astype(int)
    total = weight = 0.0
    for start, stop in pairwise(edges.tolist()):
        ours = query[start:stop]
        theirs = padded[start + shift : stop + shift + 2 * slack]
        if ours.size:
            product, norm = _peak(ours, theirs)
            total += product
            weight += norm
    return min(1.0, total / weight) if weight > 0.0 else 0.0


def _peak(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> tuple[float, float]:
    """Highest product of the two, of either sign, over the slack, and what it would be if they were one."""
    size = next_fast_len(ours.size + theirs.size, real=True)
    spectrum = rfft(theirs, size) * np.conj(rfft(ours, size))
    products = np.abs(irfft(spectrum, _FINER * size)) * _FINER
    lag = int(products[: _FINER * (theirs.size - ours.size) + 1].argmax())
    there = theirs[lag // _FINER : lag // _FINER + ours.size]
    return float(products[lag]), float(np.linalg.norm(ours) * np.linalg.norm(there))


def _low(samples_N: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    resampled = soxr.resample(samples_N, rate_hz, _RATE_HZ)
    size = next_fast_len(resampled.size + int(0.1 * _RATE_HZ), real=True)
    spectrum = rfft(resampled, size)
    frequency = np.arange(spectrum.size) * (_RATE_HZ / size)
    spectrum[(frequency < _LOWEST_HZ) | (frequency > _HIGHEST_HZ)] = 0.0
    return np.asarray(irfft(spectrum, size)[: resampled.size], dtype=np.float32)
