"""Short-time power spectra of 32 ms, shared by the measures of band, level and noise.

Shapes: N samples, F frames, K frequency bins, W samples per frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from validation.signal.waveform import Waveform

_FRAME_S = 0.032
_MAX_FRAMES = 2_000  # 64 s; what is longer is sampled evenly
_SPEECH_FROM_HZ = 80.0  # below the voice of nearly every speaker
_BAND_FLOOR_DB = -60.0
_WIDEBAND_HZ = 8_000.0  # what a rate of 16 kHz carries: speech beyond it is rare and weak


@dataclass(frozen=True, slots=True)
class Spectra:
    """Power of each frame and of each frequency.

    Attributes:
        frame_s: Seconds from one frame to the next.
        power_F: Mean square of each frame above 80 Hz, of full scale: what speech can be in.
        power_K: Mean over the frames of each bin's power.
        bin_hz: Width of a bin.
    """

    frame_s: float
    power_F: NDArray[np.float32]
    power_K: NDArray[np.float32]
    bin_hz: float


def spectra(samples_N: Waveform, rate_hz: int) -> Spectra:
    """Periodograms of Hann frames of about 32 ms (a power of two), side by side.

    The mean is removed from each frame, so that a DC offset is not the strongest bin. Side by side rather than
    overlapping halves the cost; what a frame's window weakens at its edges changes no mean over many frames.
    """
    width = 1 << max(round(math.log2(rate_hz * _FRAME_S)), 4)
    if samples_N.size < width:
        samples_N = np.pad(samples_N, (0, width - samples_N.size))
    count = samples_N.size // width
    frames_FW = samples_N[: count * width].reshape(count, width)
    step = -(-count // _MAX_FRAMES)
    frames_FW = frames_FW[::step]
    window_W = _hann(width)
    centred_FW = frames_FW - frames_FW.mean(axis=1, keepdims=True)
    centred_FW *= window_W
    spectrum_FK = scipy.fft.rfft(centred_FW, axis=1, overwrite_x=True)
    power_FK = np.square(spectrum_FK.real)
    power_FK += np.square(spectrum_FK.imag)
    bin_hz = rate_hz / width
    # Parseval: both halves of the spectrum, over the window's own energy.
    scale = np.float32(2.0 / (width * float(np.dot(window_W, window_W))))
    first = math.ceil(_SPEECH_FROM_HZ / bin_hz)
    return Spectra(
        frame_s=step * width / rate_hz,
        power_F=power_FK[:, first:].sum(axis=1) * scale,
        power_K=power_FK.mean(axis=0) * scale,
        bin_hz=bin_hz,
    )


def bandwidth_hz(spectra: Spectra) -> float:
    """Highest frequency whose long-term power is within 60 dB of the strongest bin's; five bins (150 Hz) high.

    The window's side lobes need five bins to fall by 60 dB: a sharp edge reads that much too high.
    """
    strongest = float(spectra.power_K.max())
    if strongest <= 0.0:
        return 0.0
    within_K = np.flatnonzero(spectra.power_K >= strongest * 10 ** (_BAND_FLOOR_DB / 10))
    return float(within_K[-1] * spectra.bin_hz)


def bandwidth_share(band_hz: float, rate_hz: int) -> float:
    """The band, of what the rate can carry or of 8 kHz, whichever is less.

    Half or less means that a telephone's band was resampled to a higher rate. Above 8 kHz the share would say nothing:
    voices, microphones and lossy codecs end there or not as they like.
    """
    return min(band_hz / min(rate_hz / 2, _WIDEBAND_HZ), 1.0)


@lru_cache(maxsize=32)
def _hann(width: int) -> NDArray[np.float32]:
    return np.hanning(width + 1)[:-1].astype(np.float32)
