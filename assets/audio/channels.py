"""Several channels to one.

Shapes: N samples, C channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from assets.audio.problem import fault
from validation.measures import Waveform

CANCELLATION_DB = 20.0
_SILENCE_DB = 120.0


def mix(samples_NC: NDArray[np.float32]) -> Waveform:
    """The mean of the channels, which keeps what all of them share.

    Raises:
        AudioFaultError: ``channels_cancel``, where they cancel each other (anti-phase): the mean would be a silence
            that nobody recorded.
    """
    if samples_NC.shape[1] == 1:
        return np.ascontiguousarray(samples_NC[:, 0])
    mono_N: Waveform = samples_NC.mean(axis=1, dtype=np.float32)
    loudest = float(np.max(np.einsum("nc,nc->c", samples_NC, samples_NC)))
    mixed = float(np.dot(mono_N, mono_N))
    if loudest > 0.0:  # false for NaN as well, which the measures count
        loss_db = 10.0 * np.log10(loudest / mixed) if mixed > 0.0 else _SILENCE_DB
        if loss_db > CANCELLATION_DB:
            detail = (
                f"its {samples_NC.shape[1]} channels cancel each other: mixed they lose {loss_db:.0f} dB, "
                f"above the limit of {CANCELLATION_DB:.0f} dB"
            )
            raise fault("channels_cancel", detail, float(loss_db), CANCELLATION_DB)
    return mono_N
