"""Several channels to one, as the corpus' entry says.

Shapes: N samples, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assets.audio.problem import fault
from assets.audio.settings import ChannelPolicy
from validation.measures import Waveform, without_nonfinite
from validation.signal.channels import MONO, ChannelMeasures, channel_measures
from validation.signal.flat_runs import clipping
from validation.signal.levels import dynamics, snr_db
from validation.signal.low_frequency import low_frequency
from validation.signal.spectra import spectra
from validation.signal.waveform import decibels

CANCELLATION_DB = 20.0
_SILENCE_DB = 120.0
_CLIPPED_SHARE = 1e-3  # of the samples: more is heard
_SNR_ALIKE_DB = 3.0  # the estimate tells nothing finer apart


@dataclass(frozen=True, slots=True)
class Mono:
    """What is kept of a recording's channels.

    Attributes:
        used: The channels that it is made of, from 1.
        measures: Faults between those that the policy looks at; one channel alone has none.
    """

    samples_N: Waveform
    used: tuple[int, ...]
    measures: ChannelMeasures


def to_mono(
    samples_NC: NDArray[np.float32], rate_hz: int, policy: ChannelPolicy, channel: int | None = None
) -> Mono:
    """One channel of all.

    Args:
        channel: The one that is wanted, from 1, where the recording is split.

    Raises:
        AudioFaultError: ``channels_cancel``, for a mixture of channels that cancel each other; ``bad_segment``, for a
            channel that the recording does not have.
    """
    count = samples_NC.shape[1]
    if channel is not None:
        if channel > count:
            raise fault(
                "bad_segment", f"has no channel {channel}: there are {count}", float(channel), float(count)
            )
        return _only(samples_NC, channel - 1)
    if count == 1 or policy == "first":
        return _only(samples_NC, 0)
    found = channel_measures(samples_NC)  # of the mixture, nothing of them can be told any more
    if policy == "best":
        return _only(samples_NC, best_channel(samples_NC, rate_hz, found.dead))
    living = tuple(number for number in range(count) if number not in found.dead)
    # A dead one would only make the others softer.
    kept_NC = samples_NC if not found.dead else samples_NC[:, living]
    return Mono(mix(kept_NC), tuple(number + 1 for number in living), found)


def mix(samples_NC: NDArray[np.float32]) -> Waveform:
    """The mean of the channels, which keeps what all of them share.

    Raises:
        AudioFaultError: ``channels_cancel``, where they cancel each other (anti-phase): the mean would be a silence
            that nobody recorded.
    """
    if samples_NC.shape[1] == 1:
        return np.ascontiguousarray(samples_NC[:, 0])
    mono_N: Waveform = samples_NC.mean(axis=1, dtype=np.float32)
    lost_db = cancelled_db(samples_NC, mono_N)
    if lost_db > CANCELLATION_DB:
        detail = (
            f"its {samples_NC.shape[1]} channels cancel each other: mixed they lose {lost_db:.0f} dB, above the "
            f"limit of {CANCELLATION_DB:.0f} dB; audio.channels: best takes one of them"
        )
        raise fault("channels_cancel", detail, lost_db, CANCELLATION_DB)
    return mono_N


def cancelled_db(samples_NC: NDArray[np.float32], mono_N: Waveform) -> float:
    """What the loudest channel loses when they are mixed, in dB."""
    with np.errstate(over="ignore", invalid="ignore"):
        loudest = float(np.max(np.einsum("nc,nc->c", samples_NC, samples_NC)))
        mixed = float(np.dot(mono_N, mono_N))
    if not 0.0 < loudest < np.inf:  # true for NaN as well, which the measures count
        return 0.0
    return 10.0 * float(np.log10(loudest / mixed)) if mixed > 0.0 else _SILENCE_DB


def best_channel(samples_NC: NDArray[np.float32], rate_hz: int, dead: tuple[int, ...]) -> int:
    """The cleanest channel, from 0: not dead, not clipped where another is not, least noisy, and then the loudest.

    Signal-to-noise ratios within 3 dB of the best count as alike; of equal channels the first is taken.
    """
    judged = []
    for channel in range(samples_NC.shape[1]):
        if channel in dead:
            continue
        samples_N, _ = without_nonfinite(np.ascontiguousarray(samples_NC[:, channel]))
        flat = clipping(samples_N, rate_hz, float(samples_N.min()), float(samples_N.max()))
        noise_db = snr_db(
            dynamics(spectra(samples_N, rate_hz)), low_frequency(samples_N, rate_hz).rumble_power
        )
        level_dbfs = decibels(float(np.dot(samples_N, samples_N)) / samples_N.size)
        judged.append((channel, flat.share > _CLIPPED_SHARE, noise_db, level_dbfs))
    whole = [one for one in judged if not one[1]] or judged
    least_noisy = max(snr for _, _, snr, _ in whole)
    alike = [one for one in whole if one[2] >= least_noisy - _SNR_ALIKE_DB]
    return max(alike, key=lambda one: (one[3], -one[0]))[0]


def _only(samples_NC: NDArray[np.float32], channel: int) -> Mono:
    return Mono(np.ascontiguousarray(samples_NC[:, channel]), (channel + 1,), MONO)
