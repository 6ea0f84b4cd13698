"""Opinion scores by DNSMOS P.835 (Reddy et al., ICASSP 2022), from the package speechmos (MIT).

Shapes: N samples at 16 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from speechmos import dnsmos

from validation.listening.config import LISTENING_RATE_HZ
from validation.signal.waveform import Waveform

_SHORTEST = 400  # samples: one frame of the model's spectrogram; the package repeats what is shorter than 9 s


@dataclass(frozen=True, slots=True)
class Scores:
    """Means over the recording, 1 (bad) to 5 (excellent).

    Attributes:
        mos: Overall.
        mos_signal: Of the speech.
        mos_background: Of what is behind it.
    """

    mos: float
    mos_signal: float
    mos_background: float


def opinion_scores(samples_N: Waveform) -> Scores | None:
    """The model's scores; ``None`` below 25 ms. It does not hear clipping and grades quiet speech low."""
    if samples_N.size < _SHORTEST:
        return None
    found = dnsmos.run(np.clip(samples_N, -1.0, 1.0), sr=LISTENING_RATE_HZ)
    scores = (float(np.clip(found[name], 0.0, 5.0)) for name in ("ovrl_mos", "sig_mos", "bak_mos"))
    return Scores(*scores)
