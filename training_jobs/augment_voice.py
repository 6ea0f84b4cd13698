"""Speed and pitch of a voice, in numpy and soxr: pure functions of a waveform.

Shapes: N samples, L samples of a frame.
"""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]

# Frames of 40 ms hold two periods of any voice; looking 12 ms to either side finds one that continues the last.
_FRAME_S, _SEEK_S = 0.04, 0.012


def play_faster(samples_N: Samples, factor: float, length: int) -> Samples:
    """Tempo and pitch both times ``factor``, ``length`` samples at the rate as before."""
    # As if it had been recorded at a higher rate: only the ratio of the two counts.
    played = soxr.resample(samples_N, factor, 1.0, quality="HQ")
    return _of_length(np.asarray(played, dtype=np.float32), length)


def move_pitch(samples_N: Samples, rate_hz: int, semitones: float) -> Samples:
    """The voice that many semitones higher, as long as before; its formants move along."""
    factor = 2 ** (semitones / 12)
    return play_faster(stretched(samples_N, rate_hz, factor), factor, samples_N.size)


def stretched(samples_N: Samples, rate_hz: int, factor: float) -> Samples:
    """``factor`` times as long at the same pitch, by waveform similarity overlap-add (Verhelst and Roelands, 1993).

    Frames are taken at ``1 / factor`` times the pace at which they are laid down, each moved to where it best continues
    the one before.
    """
    half = max(round(_FRAME_S * rate_hz) // 2, 1)
    width, seek = 2 * half, max(round(_SEEK_S * rate_hz), 1)
    steps = -(-round(samples_N.size * factor) // half) + 1
    # One frame and the search before the beginning, and as much behind the end.
    before = half + seek
    padded = np.concatenate(
        [np.zeros(before, np.float32), samples_N, np.zeros(2 * width + 2 * seek, np.float32)]
    )
    energy = np.concatenate([[0.0], np.cumsum(np.square(padded, dtype=np.float64))])
    window_L = (0.5 - 0.5 * np.cos(np.pi * np.arange(width) / half)).astype(np.float32)
    laid = np.zeros((steps + 1) * half, np.float32)
    last = padded.size - width - seek
    place = seek
    for step in range(steps):
        wanted = min(max(round(step * half / factor) + seek, seek), last)
        if step:
            natural = padded[place + half : place + half + width]
            place = _best_continuation(padded, energy, natural, wanted, seek)
        else:
            place = wanted
        laid[step * half : step * half + width] += window_L * padded[place : place + width]
    # The first frame begins half a frame before the recording.
    return laid[half:]


def _best_continuation(
    padded: Samples, energy: NDArray[np.float64], natural_L: Samples, wanted: int, seek: int
) -> int:
    """Where, around ``wanted``, a frame is most like what would follow naturally."""
    if natural_L.size == 0:
        return wanted
    start, width = wanted - seek, natural_L.size
    likeness = np.correlate(padded[start : wanted + seek + width], natural_L, mode="valid").astype(np.float64)
    sizes = energy[start + width : start + width + likeness.size] - energy[start : start + likeness.size]
    return start + int(np.argmax(likeness / np.sqrt(sizes + 1e-9)))


def _of_length(samples: Samples, length: int) -> Samples:
    """The waveform, cut or with silence behind it."""
    if samples.size >= length:
        return samples[:length]
    return np.concatenate([samples, np.zeros(length - samples.size, np.float32)])
