"""Whether a curve of losses still falls, has come to rest, or rises: told from its noise by robust statistics.

The slope of the last part is Theil and Sen's (the median of the slopes between any two points), which a few steps with
odd rows do not move. The noise is that of one point against the next, so that neither a trend nor a jump counts as
noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["converged", "still falling", "plateau", "diverged", "too short"]

# With fewer steps the last part has less than twelve, and one odd step in it is a trend.
FEWEST_STEPS = 40
# Of the steps. The learning rate falls there from a third of its peak to a tenth: what still falls then, falls.
LAST_PART = 0.3
# Of the last part, after steps were averaged: 45,000 pairs, a few milliseconds.
MOST_POINTS = 300
# Standard errors. By chance a flat curve exceeds 3 once in 370 times, and a stage has a dozen curves.
SIGNIFICANT = 3.0
# Of the loss. What the last part gains less than is not worth training that part once more.
WORTH = 0.01
# Of the first loss. A stage that has gained less than this has not learnt what it was for.
LEARNT = 0.05
# Of the best loss. Batches of other lengths and tasks move a level by a few hundredths, not by a tenth.
RISEN = 0.1
# Standard errors of the difference of two levels. The best of many levels is low by chance, too: measured on flat
# curves of 40 to 400 steps, one in 300 exceeds 4, and one in 30 exceeds 3.
RISEN_SIGNIFICANT = 4.0
# Of the points, and at least five: over so many the median is a level.
LEVEL_SHARE = 0.1
# Steps whose median is the first level: a loss may lose most of its height within a hundredth of them.
_FEWEST_OF_LEVEL = 5
_TO_DEVIATION = 1.4826  # from the median absolute deviation to the standard deviation of normal noise
_OF_MEDIAN = 1.2533  # standard error of a median against that of a mean


@dataclass(frozen=True)
class Trend:
    """How a curve went.

    Attributes:
        verdict: one of :data:`Verdict`.
        why: the same in a sentence, with the figures that decide.
        first: level of the loss in the first steps, nats; ``None`` without steps.
        last: level in the last ones.
        best: the lowest level, in the midst of which ``best_step`` is.
        best_step: see there.
        change: over the last part, by its slope; ``None`` where it was too short to tell.
        change_error: standard error of that.
    """

    verdict: Verdict
    why: str
    first: float | None = None
    last: float | None = None
    best: float | None = None
    best_step: int | None = None
    change: float | None = None
    change_error: float | None = None


def trend(steps: Sequence[int], losses: Sequence[float]) -> Trend:
    """The verdict on a curve.

    Args:
        steps: rising.
        losses: in nats, one for each.
    """
    wrong = next((step for step, loss in zip(steps, losses, strict=True) if not math.isfinite(loss)), None)
    if wrong is not None:
        return Trend("diverged", f"the loss is not finite at step {wrong}")
    if not steps:
        return Trend("too short", "no steps yet")
    all_steps, all_losses = np.asarray(steps, dtype=np.float64), np.asarray(losses, dtype=np.float64)
    curve_steps, curve = _averaged(all_steps, all_losses)
    width = min(len(curve), max(_FEWEST_OF_LEVEL, round(LEVEL_SHARE * len(curve))))
    levels = np.median(np.lib.stride_tricks.sliding_window_view(curve, width), axis=1)
    lowest = int(levels.argmin())
    first, last, best = (
        float(np.median(all_losses[:_FEWEST_OF_LEVEL])),
        float(levels[-1]),
        float(levels[lowest]),
    )
    best_step = int(curve_steps[lowest + width // 2])
    if len(steps) < FEWEST_STEPS:
        why = f"{len(steps)} steps; a verdict needs {FEWEST_STEPS}"
        return Trend("too short", why, first, last, best, best_step)
    start = round(len(all_steps) * (1 - LAST_PART))
    change, change_error = _change(*_averaged(all_steps[start:], all_losses[start:]))
    gain, gain_error = _change(curve_steps, curve)
    # Seen over the whole curve where it falls slowly, at its beginning where it falls at once.
    of_last = _OF_MEDIAN * noise(curve) / math.sqrt(width)
    of_first = _OF_MEDIAN * noise(all_losses) / math.sqrt(_FEWEST_OF_LEVEL)
    is_beyond_chance = first - last > SIGNIFICANT * math.hypot(of_first, of_last)
    is_lower = first - last > LEARNT * abs(first)
    has_learnt = is_lower and (is_beyond_chance or -gain > SIGNIFICANT * gain_error)
    is_moving = abs(change) > max(SIGNIFICANT * change_error, WORTH * abs(last))
    said = f"{change:+.3f} ± {change_error:.3f} over the last {len(all_steps) - start} steps"
    said = f"a change of {said}" if is_moving else f"no change beyond the noise, {said}"
    verdict: Verdict
    if last - best > max(RISEN_SIGNIFICANT * math.sqrt(2) * of_last, RISEN * abs(best)):
        verdict, why = "diverged", f"risen to {last:.3f} from {best:.3f}, its best, about step {best_step}"
    elif is_moving and change < 0:
        verdict, why = "still falling", said
    elif has_learnt:
        verdict, why = "converged", f"from {first:.3f} to {last:.3f}; {said}"
    else:
        against = "within the noise of its beginning" if is_lower else "hardly below its beginning"
        verdict, why = "plateau", f"from {first:.3f} to {last:.3f}, {against}; {said}"
    return Trend(verdict, why, first, last, best, best_step, change, change_error)


def noise(values: NDArray[np.float64]) -> float:
    """Standard deviation of one point about the curve, from the differences between neighbours."""
    differences = np.diff(values)
    deviations = np.abs(differences - np.median(differences))
    return float(_TO_DEVIATION * np.median(deviations) / math.sqrt(2))


def _averaged(
    steps: NDArray[np.float64], losses: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of as many neighbours as leave :data:`MOST_POINTS` at most; steps that fill no group go from the front."""
    size = -(-len(steps) // MOST_POINTS)
    rest = len(steps) % size
    return steps[rest:].reshape(-1, size).mean(axis=1), losses[rest:].reshape(-1, size).mean(axis=1)


def _change(steps: NDArray[np.float64], losses: NDArray[np.float64]) -> tuple[float, float]:
    """Change from the first step to the last by the median slope between any two points, and its standard error."""
    one, other = np.triu_indices(len(steps), k=1)
    slope = float(np.median((losses[other] - losses[one]) / (steps[other] - steps[one])))
    # The error of a slope over evenly spaced points, times their span.
    return slope * float(steps[-1] - steps[0]), noise(losses) * math.sqrt(12 / len(steps))
