"""Signal measures of a recording, taken from the source waveform at its own rate.

Shapes: N samples, F frames, K frequency bins. Waveforms are float32, mono, full scale = 1.

Two measures share the frames (20 ms, no overlap) and one the spectrum, so that all of them together cost less than
resampling does. None is a model: each is a few lines of arithmetic that can be checked on paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]

FLOOR_DBFS = -120.0  # the level of digital silence
FRAME_S = 0.020
MAX_SNR_DB = 100.0

_LARGEST_SAMPLE = 1e6
_FLAT_RUN = 3  # equal extreme samples in a row that count as clipped
_CEILING_TOLERANCE = (
    5e-4  # of the ceiling: a hard-clipped recording that went through a lossy codec stays flat to this
)
_MIN_CEILING = 0.01  # below -40 dBFS quantisation makes flat tops of its own
_SILENCE_BELOW_LOUD_DB = 40.0
_SILENCE_DBFS = -90.0  # the rms of one step of 16 bit
_BAND_FLOOR_DB = -60.0
_SPECTRUM_S = 0.032
_MAX_SPECTRUM_FRAMES = 400
_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Measures:
    """What is known of one recording without listening to it.

    Attributes:
        duration_s: Seconds.
        level_dbfs: Root mean square, in dB against full scale; digital silence is -120.
        peak_dbfs: Largest absolute sample, likewise.
        clipped_share: Share of samples in flat runs at the file's own ceiling, 0 to 1.
        dc_offset: Mean, of full scale, -1 to 1.
        silence_share: Share of frames without sound, 0 to 1.
        snr_db: Estimate of the signal-to-noise ratio, 0 to 100 dB.
        bandwidth_hz: Highest frequency that carries sound.
        nonfinite_samples: Samples that are no numbers (:func:`without_nonfinite`); the other measures take them as 0.
    """

    duration_s: float
    level_dbfs: float
    peak_dbfs: float
    clipped_share: float
    dc_offset: float
    silence_share: float
    snr_db: float
    bandwidth_hz: float
    nonfinite_samples: int


def measure(samples_N: Waveform, rate_hz: int) -> Measures:
    """All measures of one recording.

    Args:
        samples_N: At least one sample.
        rate_hz: Samples per second.
    """
    assert samples_N.ndim == 1 and samples_N.size, samples_N.shape
    samples_N, nonfinite = without_nonfinite(samples_N)
    power = float(np.dot(samples_N, samples_N))
    highest, lowest = float(samples_N.max()), float(samples_N.min())
    energy_F = np.sort(frame_energies(samples_N, rate_hz))
    return Measures(
        duration_s=samples_N.size / rate_hz,
        level_dbfs=decibels(power / samples_N.size),
        peak_dbfs=decibels(max(highest, -lowest) ** 2),
        clipped_share=clipped_share(samples_N, lowest, highest),
        dc_offset=float(np.clip(samples_N.mean(dtype=np.float64), -1.0, 1.0)),
        silence_share=silence_share(energy_F),
        snr_db=snr_db(energy_F),
        bandwidth_hz=bandwidth_hz(samples_N, rate_hz),
        nonfinite_samples=nonfinite,
    )


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


def decibels(power: float) -> float:
    """``10 log10(power)``, not below :data:`FLOOR_DBFS`."""
    return max(10.0 * math.log10(power), FLOOR_DBFS) if power > 0 else FLOOR_DBFS


def frame_energies(samples_N: Waveform, rate_hz: int) -> NDArray[np.float32]:
    """Variance of each 20 ms frame (so without its DC), shape (F,); one frame where the recording is shorter."""
    width = min(max(int(rate_hz * FRAME_S), 1), samples_N.size)
    count = samples_N.size // width
    frames_FW = samples_N[: count * width].reshape(count, width)
    mean_F = frames_FW.mean(axis=1)
    power_F = np.einsum("fw,fw->f", frames_FW, frames_FW) / np.float32(width)
    energy_F: NDArray[np.float32] = np.maximum(power_F - np.square(mean_F), 0.0).astype(np.float32)
    return energy_F


def clipped_share(samples_N: Waveform, lowest: float, highest: float) -> float:
    """Share of samples in runs of at least three that stay at the highest or the lowest value of the recording.

    The ceiling is the file's own, so that clipped speech that was made quieter afterwards is found too; the two
    signs have ceilings of their own, so that a DC offset does not hide it. Below -40 dBFS nothing counts.
    """
    clipped = 0
    tolerance = np.float32(1.0 - _CEILING_TOLERANCE)
    at_ceiling = (
        np.flatnonzero(samples_N >= np.float32(highest) * tolerance) if highest >= _MIN_CEILING else _NONE,
        np.flatnonzero(samples_N <= np.float32(lowest) * tolerance) if -lowest >= _MIN_CEILING else _NONE,
    )
    for at_ceiling_M in at_ceiling:
        if at_ceiling_M.size < _FLAT_RUN:
            continue
        breaks = np.flatnonzero(np.diff(at_ceiling_M) != 1) + 1
        lengths = np.diff(np.concatenate(([0], breaks, [at_ceiling_M.size])))
        clipped += int(lengths[lengths >= _FLAT_RUN].sum())
    return clipped / samples_N.size


def silence_share(energy_F: NDArray[np.float32]) -> float:
    """Share of frames 40 dB below the loud frames (95th percentile), or below one step of 16 bit (-90 dBFS).

    Args:
        energy_F: Sorted energies of the frames.
    """
    loud = _quantile(energy_F, 0.95)
    threshold = max(loud * 10 ** (-_SILENCE_BELOW_LOUD_DB / 10), 10 ** (_SILENCE_DBFS / 10))
    return float(np.searchsorted(energy_F, threshold) / energy_F.size)


def snr_db(energy_F: NDArray[np.float32]) -> float:
    """Loud frames (95th percentile) over quiet frames (10th percentile), as in NIST's STNR.

    ``10 log10((S - Q) / Q)``: the quiet frames' power Q is the noise, and it is in the loud frames' power S too.
    Frames of digital silence (padding, drop-outs) say nothing of the noise and are left out. Speech without a pause
    reads low, so the estimate finds noise that is nearly as loud as the speech, and grades nothing finer.

    Args:
        energy_F: Sorted energies of the frames.
    """
    sounding_F = energy_F[np.searchsorted(energy_F, 10 ** (FLOOR_DBFS / 10), side="right") :]
    if sounding_F.size == 0:
        return 0.0
    quiet, loud = _quantile(sounding_F, 0.10), _quantile(sounding_F, 0.95)
    ratio = (loud - quiet) / quiet
    return float(min(max(10.0 * math.log10(ratio), 0.0), MAX_SNR_DB)) if ratio > 0 else 0.0


def bandwidth_hz(samples_N: Waveform, rate_hz: int) -> float:
    """Highest frequency whose long-term power is within 60 dB of the strongest bin's; five bins (150 Hz) high.

    Welch's periodogram: Hann frames of about 32 ms (a power of two), half overlapping; recordings of more than 400
    frames are sampled evenly. The mean is removed from each frame, so that a DC offset is not the strongest bin. The
    window's side lobes need five bins to fall by 60 dB: a sharp edge reads that much too high.
    """
    width = 1 << max(round(math.log2(rate_hz * _SPECTRUM_S)), 4)
    if samples_N.size < width:
        samples_N = np.pad(samples_N, (0, width - samples_N.size))
    count = (samples_N.size - width) // (width // 2) + 1
    views_FW = np.lib.stride_tricks.sliding_window_view(samples_N, width)[:: width // 2]
    if count > _MAX_SPECTRUM_FRAMES:
        views_FW = views_FW[np.linspace(0, count - 1, _MAX_SPECTRUM_FRAMES).astype(np.int64)]
    frames_FW = (views_FW - views_FW.mean(axis=1, keepdims=True)) * _hann(width)
    spectrum_FK = np.fft.rfft(frames_FW, axis=1)
    power_K = np.mean(np.square(spectrum_FK.real) + np.square(spectrum_FK.imag), axis=0)
    strongest = float(power_K.max())
    if strongest <= 0.0:
        return 0.0
    within_K = np.flatnonzero(power_K >= strongest * 10 ** (_BAND_FLOOR_DB / 10))
    return float(within_K[-1] * rate_hz / width)


def chars_per_second(text: str, duration_s: float) -> float | None:
    """Characters of the transcript per second of the recording; ``None`` without a transcript."""
    stripped = text.strip()
    return len(stripped) / duration_s if stripped else None


def _quantile(sorted_F: NDArray[np.float32], share: float) -> float:
    # The nearest frame: numpy's interpolating quantile costs more than the rest of the measure.
    return float(sorted_F[round(share * (sorted_F.size - 1))])


_WINDOWS: dict[int, NDArray[np.float32]] = {}


def _hann(width: int) -> NDArray[np.float32]:
    if width not in _WINDOWS:
        _WINDOWS[width] = np.hanning(width + 1)[:-1].astype(np.float32)
    return _WINDOWS[width]
