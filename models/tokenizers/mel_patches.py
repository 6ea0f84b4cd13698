"""Waveforms as patches of log-mel frames, one per 80 ms, and back.

Shapes: N patches, P frames of a patch, M mel bands, S samples, F bins of a spectrum, W samples of a window.
"""

from __future__ import annotations

from functools import cache

import librosa
import numpy as np
import scipy.fft
import scipy.signal
import soxr
from numpy.typing import NDArray

from models.tokenizers.interface import TokenizerError

FloatArray = NDArray[np.floating]

SAMPLE_RATE = 22_050  # Hz; the stored WAV files' own rate, and that of decoded audio
# At 16 kHz, the rate of the view that is made from the source, the same features come out: a window is as long in
# seconds, and the transform's bins are as many as at 22,050 Hz, so that a mel band's sum has the same size.
RATES = (SAMPLE_RATE, 16_000)
HOP = 252  # samples
FRAMES = 7  # of a patch: 7 × 252 = 1764 samples = 80 ms
PATCH_SAMPLES = HOP * FRAMES
FRAME_RATE = SAMPLE_RATE / PATCH_SAMPLES  # 12.5 patches per second
WINDOW = 1024  # samples, 46 ms
BANDS = 80
LOWEST_HZ, HIGHEST_HZ = 60.0, 8000.0
# Natural logarithms of mel magnitudes. What lies 60 dB below an utterance's loudest band is silence.
RANGE = 60 * np.log(10) / 20
# The loudest band of a sine of 75 dB below full scale: what is quieter still is not raised to the common level.
QUIETEST = -6.6
# The loudest band of decoded audio, which is that of LJSpeech's recordings.
LOUDEST = 1.2
GRIFFIN_LIM_ITERATIONS = 64


def log_mel_patches(
    waveform: FloatArray, sample_rate: int, own_rate: int = SAMPLE_RATE
) -> NDArray[np.float64]:
    """Cut a waveform into patches of log-mel magnitudes, relative to the utterance's loudest band.

    The last patch is filled up with silence, so that there is one for each 80 ms begun: ceil(S / 1764) for S samples at
    22,050 Hz.

    Args:
        waveform: mono, of shape (S,), in [-1, 1].
        sample_rate: in Hz.
        own_rate: the one of :data:`RATES` at which the features are taken; any other is resampled to it.

    Returns:
        Natural logarithms of shape (N, P, M), from ``-RANGE`` to 0.

    Raises:
        TokenizerError: if the waveform is not one-dimensional, is empty or has a sample that is no finite number, or
            if the rate is not positive.
    """
    if waveform.ndim != 1 or not waveform.size:
        raise TokenizerError(
            f"a waveform must be mono with at least one sample, but has shape {waveform.shape}"
        )
    if sample_rate <= 0:
        raise TokenizerError(f"the sample rate is {sample_rate} Hz, but must be positive")
    if not np.isfinite(waveform).all():
        first = int(np.argmin(np.isfinite(waveform)))
        raise TokenizerError(f"sample {first} of the waveform is {waveform[first]}, not a finite number")
    if sample_rate != own_rate:
        waveform = soxr.resample(waveform.astype(np.float32), sample_rate, own_rate)
    patch_samples = round(own_rate / FRAME_RATE)
    window = round(WINDOW * own_rate / SAMPLE_RATE)
    patches = max(1, -(-len(waveform) // patch_samples))
    # Windows are centred on the middle of their hop, so that a patch's frames lie evenly inside its 80 ms.
    centres_N = (np.arange(patches * FRAMES) + 0.5) * (patch_samples / FRAMES)
    padded_S = np.zeros(patches * patch_samples + 2 * window, dtype=np.float64)
    padded_S[window : window + len(waveform)] = waveform
    starts_N = np.floor(centres_N - window / 2).astype(np.int64) + window
    windows_NW = np.lib.stride_tricks.sliding_window_view(padded_S, window)[starts_N]
    magnitudes_NF = np.abs(scipy.fft.rfft(windows_NW * _window(window), WINDOW, axis=1))
    logs_NM = np.log(np.maximum(magnitudes_NF @ _mel_basis(own_rate).T, 1e-12))
    relative_NM: NDArray[np.float64] = np.clip(logs_NM - max(logs_NM.max(), QUIETEST), -RANGE, 0)
    return relative_NM.reshape(patches, FRAMES, BANDS)


def waveform_of(patches_NPM: FloatArray) -> NDArray[np.float32]:
    """A waveform whose log-mel patches are near the ones given, its level that of ordinary recordings.

    The borders between patches are smoothed, the mel bands spread back over the spectrum by the pseudo-inverse, and
    phases found by the fast Griffin-Lim algorithm (Perraudin 2013), always the same ones for the same patches.

    Returns:
        Mono samples at 22,050 Hz of shape (N × 1764,), within [-1, 1].
    """
    logs_TM = patches_NPM.reshape(-1, BANDS).astype(np.float64)
    smoothed_TM = logs_TM.copy()
    borders = np.arange(FRAMES, len(logs_TM), FRAMES)
    smoothed_TM[borders - 1] = (2 * logs_TM[borders - 1] + logs_TM[borders]) / 3
    smoothed_TM[borders] = (logs_TM[borders - 1] + 2 * logs_TM[borders]) / 3
    # One frame more than hops, as the transform's centred frames have it.
    smoothed_TM = np.concatenate((smoothed_TM, smoothed_TM[-1:]))
    # The floor stands for silence, whatever its own level would be.
    mel_TM = np.where(smoothed_TM > 0.98 * -RANGE, np.exp(smoothed_TM + LOUDEST), 0)
    magnitudes_FT = np.maximum(_mel_inverse() @ mel_TM.T, 0)
    waveform = librosa.griffinlim(
        magnitudes_FT.astype(np.float32),
        n_iter=GRIFFIN_LIM_ITERATIONS,
        hop_length=HOP,
        n_fft=WINDOW,
        length=len(patches_NPM) * PATCH_SAMPLES,
        random_state=0,
    )
    peak = float(np.abs(waveform).max())
    scaled: NDArray[np.float32] = (waveform / max(1.0, peak)).astype(np.float32)
    return scaled


@cache
def _window(samples: int) -> NDArray[np.float64]:
    window: NDArray[np.float64] = scipy.signal.get_window("hann", samples)
    return window


@cache
def _mel_basis(rate: int) -> NDArray[np.float64]:
    basis: NDArray[np.float64] = librosa.filters.mel(
        sr=rate, n_fft=WINDOW, n_mels=BANDS, fmin=LOWEST_HZ, fmax=HIGHEST_HZ, dtype=np.float64
    )
    return basis


@cache
def _mel_inverse() -> NDArray[np.float64]:
    inverse: NDArray[np.float64] = np.linalg.pinv(_mel_basis(SAMPLE_RATE)).astype(np.float64)
    return inverse
