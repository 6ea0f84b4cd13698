"""Speed, pitch and formants of a voice, in numpy, scipy and soxr: pure functions of a waveform.

Shapes: N samples, L samples of a frame, T frames, W samples of a window, F bins of its spectrum.
"""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

Samples = NDArray[np.float32]

# Frames of 40 ms hold two periods of any voice; looking 12 ms to either side finds one that continues the last.
_FRAME_S, _SEEK_S = 0.04, 0.012
_WINDOW_S = 0.046
_OVERLAP = 4
# Of the cepstrum, what lies below is the envelope: 2 ms are shorter than the period of any voice but a small child's.
_LIFTER_S = 0.002
_ENVELOPE_ITERATIONS = 6
_MOST_GAIN = 20 * np.log(10) / 20  # 20 dB, as a natural logarithm
_QUIETEST = 1e-5  # of the largest magnitude: 100 dB below


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


def move_formants(samples_N: Samples, rate_hz: int, semitones: float) -> Samples:
    """The envelope of the spectrum moved up by semitones; pitch, length and level as before."""
    width = 1 << round(np.log2(_WINDOW_S * rate_hz))
    hop = width // _OVERLAP
    window_W = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(width) / width)).astype(np.float32)
    frames = -(-(samples_N.size + width) // hop)
    padded = np.zeros((frames - 1) * hop + width, np.float32)
    padded[width - hop : width - hop + samples_N.size] = samples_N
    cut_TW = np.lib.stride_tricks.sliding_window_view(padded, width)[::hop]
    spectra_TF = np.fft.rfft(cut_TW * window_W, axis=1).astype(np.complex64)
    spectra_TF *= np.exp(_envelope_change(np.abs(spectra_TF), rate_hz, semitones))
    moved_TW = np.fft.irfft(spectra_TF, n=width, axis=1).astype(np.float32) * window_W
    laid = np.zeros_like(padded)
    for number, frame in enumerate(moved_TW):
        laid[number * hop : number * hop + width] += frame
    moved = laid[width - hop : width - hop + samples_N.size]
    had, has = float(np.dot(samples_N, samples_N)), float(np.dot(moved, moved))
    return moved if has <= 0.0 else (moved * np.float32(np.sqrt(had / has))).astype(np.float32)


def _envelope_change(
    magnitudes_TF: NDArray[np.float32], rate_hz: int, semitones: float
) -> NDArray[np.float32]:
    """Natural logarithm of the gain that moves the envelope of each frame."""
    floor = np.float32(_QUIETEST * max(float(magnitudes_TF.max(initial=0.0)), 1e-9))
    envelope_TF = _envelope(np.log(np.maximum(magnitudes_TF, floor)), rate_hz)
    bins = envelope_TF.shape[1]
    source_F = np.minimum(np.arange(bins) / 2 ** (semitones / 12), bins - 1)
    below_F = np.minimum(source_F.astype(np.int64), bins - 2)
    share_F = (source_F - below_F).astype(np.float32)
    moved_TF = envelope_TF[:, below_F] * (1 - share_F) + envelope_TF[:, below_F + 1] * share_F
    return np.clip(moved_TF - envelope_TF, -_MOST_GAIN, _MOST_GAIN).astype(np.float32)


def _envelope(logs_TF: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
    """The true envelope (Imai and Abe, 1979): a smooth curve through the harmonics' tops."""
    width = 2 * (logs_TF.shape[1] - 1)
    order = max(round(_LIFTER_S * rate_hz), 1)
    lifter = np.zeros(width // 2 + 1, np.float32)
    # Falls off at its end, so that the envelope does not ring.
    lifter[: order + 1] = 0.54 + 0.46 * np.cos(np.pi * np.arange(order + 1) / (order + 1))
    lifter[0] = 1.0
    lifter_W = np.concatenate([lifter, lifter[-2:0:-1]])
    envelope_TF = logs_TF
    for _ in range(_ENVELOPE_ITERATIONS):
        target_TF = np.maximum(logs_TF, envelope_TF) if envelope_TF is not logs_TF else logs_TF
        cepstrum_TW = np.fft.irfft(target_TF, n=width, axis=1) * lifter_W
        envelope_TF = np.fft.rfft(cepstrum_TW, axis=1).real.astype(np.float32)
    return envelope_TF


def _of_length(samples: Samples, length: int) -> Samples:
    """The waveform, cut or with silence behind it."""
    if samples.size >= length:
        return samples[:length]
    return np.concatenate([samples, np.zeros(length - samples.size, np.float32)])
