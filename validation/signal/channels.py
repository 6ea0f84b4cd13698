"""What the channels of one recording are to each other, before they are mixed.

Shapes: N samples, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from validation.signal.waveform import FLOOR_DBFS

_DEAD_BELOW_DB = 60.0


@dataclass(frozen=True, slots=True)
class ChannelMeasures:
    """Faults between channels.

    Attributes:
        dead: Those that are 60 dB or more below the loudest one, from 0; none where all are silent.
        channel_correlation: The lowest correlation of a living channel with the loudest one, -1 to 1. -1 is
            anti-phase: their mean is silence.
    """

    dead: tuple[int, ...]
    channel_correlation: float

    @property
    def dead_channels(self) -> int:
        """How many are dead."""
        return len(self.dead)


MONO = ChannelMeasures(dead=(), channel_correlation=1.0)


def channel_measures(samples_NC: NDArray[np.float32]) -> ChannelMeasures:
    """From the channels' covariance, so in one pass; samples that are no numbers count as zero."""
    if samples_NC.shape[1] == 1:
        return MONO
    with np.errstate(over="ignore", invalid="ignore"):
        products_CC = samples_NC.T @ samples_NC
        if not np.isfinite(products_CC).all():
            finite_NC = np.clip(np.nan_to_num(samples_NC, posinf=0.0, neginf=0.0), -1.0, 1.0)
            products_CC = finite_NC.T @ finite_NC
    power_C = np.diag(products_CC) / samples_NC.shape[0]
    loudest = int(np.argmax(power_C))
    if power_C[loudest] <= 10 ** (FLOOR_DBFS / 10):
        return MONO
    dead_C = power_C <= power_C[loudest] * 10 ** (-_DEAD_BELOW_DB / 10)
    norms_C = np.sqrt(power_C[loudest] * power_C[~dead_C]) * samples_NC.shape[0]
    correlation_C = products_CC[loudest][~dead_C] / norms_C
    dead = tuple(int(channel) for channel in np.flatnonzero(dead_C))
    return ChannelMeasures(dead, float(np.clip(correlation_C.min(), -1.0, 1.0)))
