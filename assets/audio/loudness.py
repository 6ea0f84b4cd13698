"""The gain that brings a recording to its corpus' loudness, without clipping it.

Shapes: N samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import soxr

from assets.audio.settings import Loudness
from validation.measures import Measures, Waveform, without_nonfinite
from validation.signal.waveform import FLOOR_DBFS, decibels
from validation.stored_audio import GainLimit

CEILING_DBFS = -1.0  # true peak, as EBU R 128 has it
_BLOCK_S = 0.4  # of BS.1770: below it there is no integrated loudness
# Between its samples a waveform is hardly ever higher than this over the highest sample (BS.1770-5, annex 2).
_OVERSHOOT_DB = 6.0
_OVERSAMPLING = 4

Method = Literal["r128", "rms"]


@dataclass(frozen=True, slots=True)
class Gain:
    """What the samples of a recording were multiplied with.

    Attributes:
        gain_db: In dB.
        gain_limit: What it ended at: ``target``, ``max_gain``, the true ``peak``, ``full_scale`` (a recording that
            would have clipped although its gain was to be kept), ``silence`` (there is nothing to measure); ``None``:
            it is the recorded gain.
        loudness_by: What was measured; ``rms`` instead of ``r128`` below 0.4 s and where nothing is above -70 LUFS.
    """

    gain_db: float = 0.0
    gain_limit: GainLimit | None = None
    loudness_by: Method | None = None


RECORDED = Gain()


def gain_of(measures: Measures, settings: Loudness, peak_dbfs: Callable[[], float]) -> Gain:
    """The gain for a recording with these measures.

    Amplification ends at ``max_gain_db``, and where the true peak reaches -1 dBFS; a recording that is above that by
    itself is not amplified at all.

    Args:
        peak_dbfs: The highest peak that the recording has in any form that it is stored in; asked for only where it
            may matter.
    """
    by: Method = settings.method
    if by == "r128" and (measures.duration_s < _BLOCK_S or measures.loudness_lufs is None):
        by = "rms"
    found = measures.level_dbfs if by == "rms" else measures.loudness_lufs
    assert found is not None
    if found <= FLOOR_DBFS:
        return Gain(0.0, "silence", by)
    wanted_db = settings.target - found
    if wanted_db <= 0.0:
        return Gain(wanted_db, "target", by)
    limit: GainLimit = "target" if wanted_db <= settings.max_gain_db else "max_gain"
    gain_db = min(wanted_db, settings.max_gain_db)
    if measures.peak_dbfs + _OVERSHOOT_DB + gain_db > CEILING_DBFS:
        room_db = max(CEILING_DBFS - peak_dbfs(), 0.0)
        if gain_db > room_db:
            return Gain(room_db, "peak", by)
    return Gain(gain_db, limit, by)


def true_peak_dbfs(samples_N: Waveform, rate_hz: int) -> float:
    """The highest point of the waveform, between its samples too: of four times as many of them."""
    finite_N, _ = without_nonfinite(samples_N)
    between_N = soxr.resample(finite_N, rate_hz, _OVERSAMPLING * rate_hz, quality="HQ")
    highest = max(float(np.abs(one_N).max(initial=0.0)) for one_N in (finite_N, between_N))
    return decibels(highest**2)
