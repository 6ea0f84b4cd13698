"""Runs of samples that do not change: clipping at the ceiling, drop-outs within the sound.

Shapes: N samples, M positions, B blocks of samples, R runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from validation.signal.waveform import Waveform

_FLAT_RUN = 3  # equal extreme samples in a row that count as clipped
# Of the ceiling: a hard-clipped recording that went through a lossy codec stays flat to this.
_CEILING_TOLERANCE = 5e-4
_MIN_CEILING = 0.01  # below -40 dBFS quantisation makes flat tops of its own
_BLOCK_S = 0.005
_DROPOUT_S = 0.010  # two blocks: a run of this length holds one whole block, wherever it begins
_BESIDE_S = 0.002  # a gate fades out over more than this
_BESIDE_BELOW_DB = 20.0
_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Clipping:
    """Flat runs at the recording's own ceiling.

    Attributes:
        share: Share of all samples that lie in them, 0 to 1.
        runs: How many there are.
        longest_s: The longest, in seconds.
    """

    share: float
    runs: int
    longest_s: float


@dataclass(frozen=True, slots=True)
class Dropouts:
    """Runs of one repeated value (mostly zero) that cut into sound.

    Attributes:
        total_s: All of them, in seconds.
        longest_s: The longest.
    """

    total_s: float
    longest_s: float


def clipping(samples_N: Waveform, rate_hz: int, lowest: float, highest: float) -> Clipping:
    """Runs of at least three samples that stay at the highest or the lowest value of the recording.

    The ceiling is the file's own, so that clipped speech that was made quieter afterwards is found too; the two
    signs have ceilings of their own, so that a DC offset does not hide it. Below -40 dBFS nothing counts.
    """
    tolerance = np.float32(1.0 - _CEILING_TOLERANCE)
    at_ceiling = (
        np.flatnonzero(samples_N >= np.float32(highest) * tolerance) if highest >= _MIN_CEILING else _NONE,
        np.flatnonzero(samples_N <= np.float32(lowest) * tolerance) if -lowest >= _MIN_CEILING else _NONE,
    )
    lengths_R = np.concatenate([_run_lengths(positions_M) for positions_M in at_ceiling])
    flat_R = lengths_R[lengths_R >= _FLAT_RUN]
    if not flat_R.size:
        return Clipping(0.0, 0, 0.0)
    return Clipping(float(flat_R.sum() / samples_N.size), int(flat_R.size), float(flat_R.max() / rate_hz))


def dropouts(samples_N: Waveform, rate_hz: int, active_power: float) -> Dropouts:
    """Runs of at least 10 ms of one value, with sound right beside them.

    Digital silence is no fault by itself: padding, gated pauses and codecs make it, and fade into it. It is one where
    the sound breaks off and comes back: where the 2 ms before and the 2 ms after are within 20 dB of its mean power.
    One side is not enough: a plosive bursts out of a gated closure.

    Args:
        active_power: Mean square of the frames with sound (:class:`validation.signal.levels.Dynamics`).
    """
    beside = max(round(_BESIDE_S * rate_hz), 1)
    threshold = active_power * 10 ** (-_BESIDE_BELOW_DB / 10)
    lengths = [
        end - start
        for start, end in _constant_runs(samples_N, rate_hz)
        # A run at an edge of the recording is padding, whatever stands on its other side.
        if start > 0
        and end < samples_N.size
        and min(_power(samples_N[max(start - beside, 0) : start]), _power(samples_N[end : end + beside]))
        >= threshold
        > 0.0
    ]
    return Dropouts(sum(lengths) / rate_hz, max(lengths, default=0) / rate_hz)


def _constant_runs(samples_N: Waveform, rate_hz: int) -> list[tuple[int, int]]:
    """First sample and end of each run of one value that lasts at least 10 ms."""
    width = max(int(rate_hz * _BLOCK_S), 2)
    count = samples_N.size // width
    blocks_BW = samples_N[: count * width].reshape(count, width)
    # Three samples of a block rule nearly all of them out; only the rest is looked at in full.
    candidates_B = np.flatnonzero(
        (blocks_BW[:, 0] == blocks_BW[:, width // 2]) & (blocks_BW[:, 0] == blocks_BW[:, -1])
    )
    constant_B = candidates_B[np.ptp(blocks_BW[candidates_B], axis=1) == 0] if candidates_B.size else _NONE
    if not constant_B.size:
        return []
    values_B = blocks_BW[constant_B, 0]
    breaks = np.flatnonzero((np.diff(constant_B) != 1) | (np.diff(values_B) != 0)) + 1
    firsts = np.concatenate(([0], breaks))
    lasts = np.concatenate((breaks, [constant_B.size])) - 1
    found = []
    for first, last in zip(firsts, lasts, strict=True):
        start, end = int(constant_B[first]) * width, (int(constant_B[last]) + 1) * width
        value = samples_N[start]
        before = np.flatnonzero(samples_N[max(start - width, 0) : start] != value)
        after = np.flatnonzero(samples_N[end : end + width] != value)
        start = max(start - width, 0) + int(before[-1]) + 1 if before.size else max(start - width, 0)
        end = end + int(after[0]) if after.size else min(end + width, samples_N.size)
        if end - start >= _DROPOUT_S * rate_hz:
            found.append((start, end))
    return found


def _run_lengths(positions_M: NDArray[np.int64]) -> NDArray[np.int64]:
    if positions_M.size < _FLAT_RUN:
        return _NONE
    breaks = np.flatnonzero(np.diff(positions_M) != 1) + 1
    return np.diff(np.concatenate(([0], breaks, [positions_M.size])))


def _power(samples_N: Waveform) -> float:
    return float(samples_N.var()) if samples_N.size else 0.0
