"""Measures of how power is spread over time: silence, noise, dynamics.

Shapes: F frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from validation.signal.spectra import Spectra
from validation.signal.waveform import FLOOR_DBFS, quantile, ratio_db

MAX_SNR_DB = 100.0
_SILENCE_BELOW_LOUD_DB = 40.0
_SILENCE_DBFS = -90.0  # the rms of one step of 16 bit
_QUIET = 0.05  # quantile: readers pause for less than a tenth of the time
_FEWEST_FRAMES = 32  # a second: in less there need not be a pause, and the quietest frame stands for one
_ACTIVE_BELOW_LOUD_DB = 15.9  # the margin of ITU-T P.56, which tells speech from its pauses


@dataclass(frozen=True, slots=True)
class Dynamics:
    """What the frames' powers say.

    Attributes:
        silence_share: Share of frames without sound, 0 to 1.
        leading_silence_s: Seconds before the first frame with sound; the whole recording where there is none.
        trailing_silence_s: Seconds after the last one; likewise.
        dynamic_range_db: From the 10th to the 95th percentile of the frames with sound, the percentiles of EBU Tech
            3342. Steady tones and noise have next to none.
        active_power: Mean square of the frames that are within 15.9 dB of the loud ones: of the speech itself, however
            much of the recording is pause.
        quiet_power: Mean square of the 5th percentile of all frames that are not digital silence; below a second, of
            the quietest one.
    """

    silence_share: float
    leading_silence_s: float
    trailing_silence_s: float
    dynamic_range_db: float
    active_power: float
    quiet_power: float


def dynamics(spectra: Spectra) -> Dynamics:
    """Sound is what is within 40 dB of the loud frames (95th percentile) and above one step of 16 bit (-90 dBFS)."""
    power_F = spectra.power_F
    sorted_F = np.sort(power_F)
    loud = quantile(sorted_F, 0.95)
    threshold = max(loud * 10 ** (-_SILENCE_BELOW_LOUD_DB / 10), 10 ** (_SILENCE_DBFS / 10))
    first_sound = int(np.searchsorted(sorted_F, threshold))
    sound_F = sorted_F[first_sound:]
    duration_s = power_F.size * spectra.frame_s
    if sound_F.size == 0:
        return Dynamics(1.0, duration_s, duration_s, 0.0, 0.0, 0.0)
    active = min(loud * 10 ** (-_ACTIVE_BELOW_LOUD_DB / 10), sound_F[-1])
    sounding = np.flatnonzero(power_F >= threshold)
    return Dynamics(
        silence_share=first_sound / sorted_F.size,
        leading_silence_s=float(sounding[0] * spectra.frame_s),
        trailing_silence_s=float((power_F.size - 1 - sounding[-1]) * spectra.frame_s),
        dynamic_range_db=ratio_db(quantile(sound_F, 0.95), quantile(sound_F, 0.10), MAX_SNR_DB),
        active_power=float(sound_F[np.searchsorted(sound_F, active) :].mean()),
        quiet_power=_quiet_power(sorted_F),
    )


def snr_db(dynamics: Dynamics, rumble_power: float) -> float:
    """Signal-to-noise ratio: ``10 log10((S - Q) / (Q + R))``, between -100 and 100 dB; 0 without any sound.

    S is the power of the speech, Q that of the quiet frames (5th percentile), R the power below the voice
    (:mod:`validation.signal.low_frequency`). Frames of digital silence (padding, drop-outs) say nothing of the noise
    and are left out. Speech without a pause reads low, and so do pauses that are nearly as loud as the speech; noise
    in bursts above 80 Hz is taken for speech. The estimate finds steady noise and rumble, and grades nothing finer.
    """
    if dynamics.active_power <= 0.0:
        return 0.0
    speech = max(dynamics.active_power - dynamics.quiet_power, 0.0)
    return ratio_db(speech, dynamics.quiet_power + rumble_power, MAX_SNR_DB)


def _quiet_power(sorted_F: NDArray[np.float32]) -> float:
    sounding_F = sorted_F[np.searchsorted(sorted_F, 10 ** (FLOOR_DBFS / 10), side="right") :]
    if not sounding_F.size:
        return 0.0
    return quantile(sounding_F, _QUIET) if sounding_F.size >= _FEWEST_FRAMES else float(sounding_F[0])
