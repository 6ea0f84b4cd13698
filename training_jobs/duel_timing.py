"""Whether one model is slower than another: both timed in turns, until chance no longer decides.

Each turn gives a pair of times, taken one after the other; what the machine does beside it hits both. The ratio of the
medians has an interval by drawing pairs. While that holds the limit, there are more turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training_jobs.bootstrap import RESAMPLES
from training_jobs.comparison import Comparison
from training_jobs.gate import GateThresholds
from training_jobs.latency import Timing, first_chunk_positions

CANDIDATE, CHAMPION = "candidate", "champion"
_TAILS = (0.025, 0.975)

# From a number of turns to the timings of each, by ``candidate`` and ``champion``: the same number, in their order.
TakeTurns = Callable[[int], Mapping[str, Sequence[Timing]]]
_Floats = NDArray[np.float64]


@dataclass
class _Taken:
    """All timings so far, ids reduced to whether they are audio: two models may number their words differently."""

    timings: dict[str, list[Timing]] = field(default_factory=lambda: {CANDIDATE: [], CHAMPION: []})

    def first_chunk_ms(self, by_ratio: int) -> dict[str, _Floats]:
        _, positions = first_chunk_positions(self.timings, bool, by_ratio)
        return {
            name: np.array([1e3 * run.arrivals_s[at] for run, at in zip(runs, positions[name], strict=True)])
            for name, runs in self.timings.items()
        }

    def tokens_per_second(self) -> dict[str, _Floats]:
        return {
            name: np.array([len(run.token_ids) / run.arrivals_s[-1] for run in runs])
            for name, runs in self.timings.items()
        }


def speed_comparisons(
    take_turns: TakeTurns,
    is_audio: Mapping[str, Callable[[int], bool]],
    by_ratio: int,
    mode: str,
    thresholds: GateThresholds,
    seed: int,
) -> list[Comparison]:
    """Time to the first audio chunk and tokens per second, from as many turns as it takes.

    Args:
        take_turns: times both models.
        is_audio: of each model, whether an id is audio.
        by_ratio: index at which the interleaving ratio puts the first chunk's last token, for replies without one.
        mode: for the names.
    """
    taken, wanted = _Taken(), thresholds.timing_repeats
    while True:
        turns = take_turns(wanted - len(taken.timings[CANDIDATE]))
        for name, runs in turns.items():
            taken.timings[name] += [
                Timing([int(is_audio[name](token)) for token in run.token_ids], list(run.arrivals_s))
                for run in runs
            ]
        is_last = wanted >= thresholds.most_timing_repeats
        found = _compared(taken, by_ratio, mode, thresholds, seed, is_last)
        if is_last or not any(one.low <= one.limit <= one.high for one in found):
            return found
        wanted = min(2 * wanted, thresholds.most_timing_repeats)


def _compared(
    taken: _Taken, by_ratio: int, mode: str, thresholds: GateThresholds, seed: int, is_last: bool
) -> list[Comparison]:
    chunk, rate = taken.first_chunk_ms(by_ratio), taken.tokens_per_second()
    return [
        _comparison(f"{mode}/first_chunk_ms_p50", chunk, thresholds.max_first_chunk_increase, seed, is_last),
        _comparison(
            f"{mode}/tokens_per_second_p50", rate, -thresholds.max_throughput_decrease, seed, is_last
        ),
    ]


def _comparison(
    name: str, values: Mapping[str, _Floats], limit: float, seed: int, is_last: bool
) -> Comparison:
    candidate, champion = values[CANDIDATE], values[CHAMPION]
    ours, theirs = float(np.median(candidate)), float(np.median(champion))
    low, high = (float(end) - 1 for end in _interval(candidate, champion, seed))
    is_time = name.endswith("_ms_p50")
    return Comparison(
        name=name,
        kind="time" if is_time else "speed",
        candidate=ours,
        champion=theirs,
        difference=ours / theirs - 1,
        low=low,
        high=high,
        limit=limit,
        more_is_worse=is_time,
        basis=f"{candidate.size} turns",
        undecided=is_last and low <= limit <= high,
    )


def _interval(candidate: _Floats, champion: _Floats, seed: int) -> _Floats:
    """95 % interval of the ratio of the medians, pairs being drawn."""
    drawn = np.random.default_rng(seed).integers(0, candidate.size, size=(RESAMPLES, candidate.size))
    ratios = np.median(candidate[drawn], axis=1) / np.median(champion[drawn], axis=1)
    ends: _Floats = np.quantile(ratios, _TAILS)
    return ends
