"""Verdicts on curves that were made to be falling, at rest, never learning, diverging or too short."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from training_jobs.trend import FEWEST_STEPS, Verdict, noise, trend

STEPS = 400
SHARE = np.arange(STEPS) / STEPS


def noisy(curve: NDArray[np.float64], seed: int = 0, sigma: float = 0.1) -> list[float]:
    made: list[float] = (curve + np.random.default_rng(seed).normal(0, sigma, len(curve))).tolist()
    return made


CURVES: dict[str, tuple[NDArray[np.float64], Verdict]] = {
    "an exponential that has come down": (1 + 5 * np.exp(-SHARE * 15), "converged"),
    "a line that goes on": (6 - 5 * SHARE, "still falling"),
    "a slow tail": (1 + 5 * np.exp(-SHARE * 3), "still falling"),
    "nothing learnt": (np.full(STEPS, 6.0), "plateau"),
    "learnt, then lost": (
        np.where(SHARE < 0.6, 1 + 5 * np.exp(-SHARE * 15), 1 + 5 * (SHARE - 0.6)),
        "diverged",
    ),
    "a jump that stays": (np.where(SHARE < 0.8, 1 + 5 * np.exp(-SHARE * 15), 2.5), "diverged"),
    "rising from the start": (2 + 3 * SHARE, "diverged"),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_made_curve_gets_its_verdict(name: str, seed: int) -> None:
    curve, verdict = CURVES[name]
    found = trend(range(STEPS), noisy(curve, seed))
    assert found.verdict == verdict, found.why
    assert found.first is not None and found.last is not None and found.best is not None
    assert found.first == pytest.approx(np.median(curve[:5]), abs=0.2)
    assert found.last == pytest.approx(np.median(curve[-40:]), abs=0.15)
    assert found.best <= found.last


def test_flat_noise_is_called_falling_or_diverged_as_seldom_as_the_errors_say() -> None:
    """One in 370 for each of the two, and some more since the noise itself is estimated."""
    verdicts = Counter(trend(range(200), noisy(np.full(200, 3.0), seed, 0.5)).verdict for seed in range(300))
    assert verdicts["plateau"] >= 294


def test_the_change_is_within_its_error_of_the_true_one() -> None:
    """By normal noise one in twenty is more than two errors away."""
    line = 6 - 5 * SHARE
    truth = -5 * 119 / STEPS
    errors = []
    for seed in range(100):
        found = trend(range(STEPS), noisy(line, seed))
        assert found.change is not None and found.change_error is not None
        errors.append((found.change - truth) / found.change_error)
    assert np.abs(np.mean(errors)) < 0.4
    assert 0.7 < float(np.std(errors)) < 1.4


def test_a_fall_in_the_first_steps_is_not_forgotten_and_a_slow_one_is_seen_through_the_noise() -> None:
    at_once = np.where(np.arange(8000) < 60, 12.0, 3.0)
    assert trend(range(8000), noisy(at_once, sigma=0.3)).verdict == "converged"
    slow = np.where(SHARE < 0.7, 1 - 0.3 * SHARE, 0.79)
    assert trend(range(STEPS), noisy(slow, sigma=0.2)).verdict == "converged"


def test_odd_steps_do_not_change_a_verdict() -> None:
    losses = noisy(1 + 5 * np.exp(-SHARE * 15))
    for step in (300, 333, 366, 399):
        losses[step] = 9.0
    assert trend(range(STEPS), losses).verdict == "converged"


def test_a_long_curve_is_averaged_and_judged_alike() -> None:
    share = np.arange(20_011) / 20_011
    assert trend(range(20_011), noisy(1 + 5 * np.exp(-share * 15), sigma=0.4)).verdict == "converged"
    assert trend(range(20_011), noisy(6 - 5 * share, sigma=0.4)).verdict == "still falling"


def test_too_few_steps_get_no_verdict_and_levels_all_the_same() -> None:
    found = trend(range(FEWEST_STEPS - 1), [5.0] * (FEWEST_STEPS - 1))
    assert (found.verdict, found.first, found.last, found.change) == ("too short", 5.0, 5.0, None)
    assert trend([], []).verdict == "too short"
    assert trend([4], [2.0]).best_step == 4


def test_a_loss_that_is_no_number_is_divergence_at_its_step() -> None:
    found = trend([10, 20], [1.0, math.nan])
    assert (found.verdict, found.why) == ("diverged", "the loss is not finite at step 20")


def test_noise_is_that_of_a_point_whatever_the_curve_does() -> None:
    for curve in (np.zeros(STEPS), 6 - 5 * SHARE, np.where(SHARE < 0.5, 0.0, 9.0)):
        assert noise(np.array(noisy(curve, sigma=0.2))) == pytest.approx(0.2, rel=0.2)
    assert noise(np.full(50, 2.0)) == 0.0
    assert trend(range(STEPS), [2.0] * STEPS).verdict == "plateau"


def test_a_loss_that_is_lower_by_noise_alone_is_not_called_hardly_lower() -> None:
    steps = list(range(40))
    lower = trend(steps, [1.3] * 5 + noisy(np.full(35, 1.0), sigma=0.3))
    assert lower.verdict == "plateau"
    assert "within the noise of its beginning" in lower.why
    flat = trend(steps, [1.0 + 0.001 * (step % 2) for step in steps])
    assert "hardly below its beginning" in flat.why
