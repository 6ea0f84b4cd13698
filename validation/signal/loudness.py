"""Integrated loudness after ITU-R BS.1770-5, as EBU R 128 uses it.

Shapes: N samples, S steps of 100 ms, B blocks of 400 ms.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from validation.signal.recursive import BlockFilter
from validation.signal.waveform import Waveform

_OFFSET_LUFS = -0.691
_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
_STEP_S = 0.1
_STEPS_PER_BLOCK = 4


def loudness_lufs(samples_N: Waveform, rate_hz: int) -> float | None:
    """Gated loudness of a mono recording, in LUFS: blocks of 400 ms, three quarters overlapping, two gates.

    A recording shorter than a block is one block. One channel counts once, as BS.1770 has it: the same speech on two
    channels reads 3 LU more.

    Returns:
        ``None`` where nothing is above the absolute gate of -70 LUFS.
    """
    weighted_N = _weighting(rate_hz)(samples_N)
    step = round(_STEP_S * rate_hz)
    steps = weighted_N.size // step
    if steps < _STEPS_PER_BLOCK:
        power_B = np.atleast_1d(np.mean(np.square(weighted_N), dtype=np.float64))
    else:
        parts_SW = weighted_N[: steps * step].reshape(steps, step)
        power_S = np.einsum("sw,sw->s", parts_SW, parts_SW).astype(np.float64) / step
        power_B = np.convolve(power_S, np.full(_STEPS_PER_BLOCK, 1 / _STEPS_PER_BLOCK), mode="valid")
    audible_B = power_B[power_B > _power(_ABSOLUTE_GATE_LUFS)]
    if not audible_B.size:
        return None
    gate = audible_B.mean() * 10 ** (_RELATIVE_GATE_LU / 10)
    return _OFFSET_LUFS + 10.0 * math.log10(float(audible_B[audible_B > gate].mean()))


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET_LUFS) / 10))


@lru_cache(maxsize=32)
def _weighting(rate_hz: int) -> BlockFilter:
    return BlockFilter.of(_k_weighting(rate_hz))


def _k_weighting(rate_hz: int) -> NDArray[np.float64]:
    """The two filters of BS.1770, whose coefficients the recommendation gives at 48 kHz only.

    At other rates: the analogue prototypes behind them, through the bilinear transform. Their corner frequencies,
    quality factors and gain are those that reproduce the published coefficients (De Man, "Evaluation of
    implementations of the EBU R128 loudness measurement", AES 145, 2018).
    """
    gain_db, shelf_hz, shelf_q = 3.999843853973347, 1681.974450955533, 0.7071752369554196
    high_hz, high_q = 38.13547087602444, 0.5003270373238773
    k = math.tan(math.pi * shelf_hz / rate_hz)
    high = 10 ** (gain_db / 20)
    band = high**0.4996667741545416
    a0 = 1 + k / shelf_q + k * k
    shelf = [
        (high + band * k / shelf_q + k * k) / a0,
        2 * (k * k - high) / a0,
        (high - band * k / shelf_q + k * k) / a0,
        1.0,
        2 * (k * k - 1) / a0,
        (1 - k / shelf_q + k * k) / a0,
    ]
    shelves = [shelf] if shelf_hz < rate_hz / 2 else []  # a lower rate holds nothing for it to raise
    k = math.tan(math.pi * high_hz / rate_hz)
    a0 = 1 + k / high_q + k * k
    pass_high = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / high_q + k * k) / a0]
    return np.array([*shelves, pass_high])
