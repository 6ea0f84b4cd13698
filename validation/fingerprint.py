"""An acoustic fingerprint by which two copies of one recording are known, whatever they went through on the way.

The method is that of Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System" (ISMIR 2002), fitted to speech:
32 bits per frame, each the sign of how the energy difference of two neighbouring bands changed over time. A copy that
was re-encoded, resampled, made louder or softer, or given silence keeps most of its bits; another take of the same word
by the same speaker does not. What differs from the paper: bands over the telephone band instead of 300-2000 Hz, frames
of 128 ms instead of 370 ms (an utterance may last no longer), changes over 64 ms instead of one hop (their signs are
surer), and frames marked as quiet, which are never compared.

Shapes: N samples, F frames, K frequency bins, B bands.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.fft import rfft

Fingerprint = NDArray[np.uint32]

# Raised when the same samples give another fingerprint.
FINGERPRINT_RECIPE = 1

FRAMES_PER_SECOND = 62.5
BITS = 32
QUIET = np.uint32(0)

_RATE_HZ = 8_000  # telephone speech must match its studio original
_HOP = 128
_WINDOW = 1024
_LAG = 4
_LOWEST_HZ, _HIGHEST_HZ = 250.0, 3_500.0
# Below the loudest frame by more than this is no speech; relative, so that a gain changes nothing.
_QUIET_DB = 45.0
_FLOOR = 1e-7  # of the loudest frame's energy, added to each band: coders empty bands that lie lower
# Frames at once: the spectra of half a minute, whatever the recording's length.
_BLOCK = 2048

# Fewer loud frames than these (0.2 s) say too little: such a clip is known by its digest only.
FEWEST_FRAMES = 12

# Highest share of differing bits at which two clips may be one recording, by compared frames: a suspicion, which
# validation/fingerprint_confirm.py confirms. Measured on real speech (docs/decisions.md): copies lie below 0.2; other
# takes of one digit by one speaker above 0.19 where few frames are compared, other speech above 0.32 where many are.
_LIMIT_FRAMES = (32.0, 128.0)
_LIMITS = (0.19, 0.32)


def fingerprint(samples_N: NDArray[np.float32], rate_hz: int) -> Fingerprint:
    """32 bits for each 16 ms of a mono recording; :data:`QUIET` for frames without sound.

    Args:
        samples_N: Of any level, finite.
    """
    audio_N = soxr.resample(samples_N, rate_hz, _RATE_HZ) if rate_hz != _RATE_HZ else samples_N
    around = np.zeros(_WINDOW // 2, dtype=np.float32)
    padded_N = np.concatenate([around, np.asarray(audio_N, dtype=np.float32), around])
    frames_FN = np.lib.stride_tricks.sliding_window_view(padded_N, _WINDOW)[::_HOP]
    starts = range(0, len(frames_FN), _BLOCK)
    energies_FB = np.concatenate([_energies(frames_FN[start : start + _BLOCK]) for start in starts])
    total_F = energies_FB.sum(axis=1)
    loudest = float(total_F.max())
    if loudest <= 0.0:
        return np.zeros(0, dtype=np.uint32)
    is_loud_F = total_F > loudest * 10.0 ** (-_QUIET_DB / 10.0)
    levels_FB = np.log(energies_FB + np.float32(_FLOOR * loudest))
    slopes_F = np.diff(levels_FB, axis=1)
    bits_F = (slopes_F[_LAG:] > slopes_F[:-_LAG]).astype(np.uint32)
    words_F: Fingerprint = (bits_F << np.arange(BITS, dtype=np.uint32)).sum(axis=1, dtype=np.uint32)
    words_F = np.maximum(words_F, np.uint32(1))  # 0 is taken
    words_F[~(is_loud_F[_LAG:] & is_loud_F[:-_LAG])] = QUIET
    return words_F


def limit_for(frames: NDArray[np.integer]) -> NDArray[np.float64]:
    """Highest bit error rate of one recording's copies where this many frames were compared."""
    return np.asarray(np.interp(frames, _LIMIT_FRAMES, _LIMITS), dtype=np.float64)


def loud_frames(words_F: Fingerprint) -> int:
    """Frames that can be compared."""
    return int(np.count_nonzero(words_F))


def _energies(frames_FN: NDArray[np.float32]) -> NDArray[np.float32]:
    spectrum_FK = rfft(frames_FN * _window(), axis=1)  # numpy's would work in float64
    power_FK = spectrum_FK.real**2 + spectrum_FK.imag**2
    energies_FB: NDArray[np.float32] = power_FK @ _bands()
    return energies_FB


@lru_cache(maxsize=1)
def _window() -> NDArray[np.float32]:
    return np.hanning(_WINDOW).astype(np.float32)


@lru_cache(maxsize=1)
def _bands() -> NDArray[np.float32]:
    """Triangles that are equally wide in mel, as a matrix K x B."""
    edges = np.linspace(_mel(_LOWEST_HZ), _mel(_HIGHEST_HZ), BITS + 3)
    bins_K1 = _mel(np.arange(_WINDOW // 2 + 1) * (_RATE_HZ / _WINDOW))[:, None]
    rise = (bins_K1 - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins_K1) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rise, fall)).astype(np.float32)


def _mel(hertz: NDArray[np.floating] | float) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log1p(np.asarray(hertz) / 700.0), dtype=np.float64)
