"""Intervals against what statistics says of them."""

from __future__ import annotations

import time

import numpy as np
import pytest

from training_jobs.bootstrap import Interval, NoRateError, paired_difference, rate_interval, resampled_by


def test_a_rate_is_a_ratio_of_sums_and_the_same_seed_gives_the_same_interval() -> None:
    errors, units = [1, 0, 6], [2, 10, 4]
    interval = rate_interval(errors, units, seed=3)
    assert interval.value == 7 / 16  # not the mean of 1/2, 0 and 3/2
    assert interval.low < interval.value < interval.high
    assert interval == rate_interval(errors, units, seed=3)
    many = [[1, 0, 6] * 30, [2, 10, 4] * 30]
    assert rate_interval(*many, seed=3) != rate_interval(*many, seed=4)


def test_the_interval_of_many_rows_is_that_of_the_normal_approximation() -> None:
    wrong = [1] * 300 + [0] * 700
    interval = rate_interval(wrong, [1] * 1000, seed=0, resamples=4000)
    half = 1.96 * (0.3 * 0.7 / 1000) ** 0.5
    assert interval.low == pytest.approx(0.3 - half, abs=0.004)
    assert interval.high == pytest.approx(0.3 + half, abs=0.004)


def test_the_interval_holds_the_true_rate_about_19_times_of_20() -> None:
    random = np.random.default_rng(5)
    held = 0
    for trial in range(200):
        words = random.integers(3, 20, size=80)
        errors = random.binomial(words, 0.2)
        interval = rate_interval(errors.tolist(), words.tolist(), seed=trial, resamples=500)
        held += interval.low <= 0.2 <= interval.high
    assert 0.89 <= held / 200 <= 0.99


def test_rows_of_one_speaker_that_go_wrong_together_widen_the_interval() -> None:
    speakers = [f"s{number}" for number in range(10) for _ in range(20)]
    errors = [
        int(number % 2) for number in range(10) for _ in range(20)
    ]  # a speaker is all right or all wrong
    by_row = rate_interval(errors, [1] * 200, seed=1)
    by_speaker = rate_interval(errors, [1] * 200, seed=1, groups=speakers)
    assert by_speaker.value == by_row.value == 0.5
    # 20 rows of a speaker tell as much as one: the width grows by about the root of 20.
    assert (by_speaker.high - by_speaker.low) > 3.5 * (by_row.high - by_row.low)


def test_too_few_speakers_to_draw_from_are_drawn_by_row() -> None:
    errors, units = [0, 1, 1, 0, 1, 0, 0, 0], [1] * 8
    assert resampled_by(["a", "b", "c", "d"] * 2) == "row"
    assert resampled_by(["a", "b", "c", "d", "e"]) == "speaker"
    assert resampled_by(None) == "row"
    assert rate_interval(errors, units, 7, groups=["a", "b", "c", "d"] * 2) == rate_interval(errors, units, 7)


def test_a_difference_of_systems_that_err_on_the_same_rows_is_narrower_than_their_rates() -> None:
    random = np.random.default_rng(2)
    b = random.integers(0, 2, size=200)
    a = b.copy()
    a[:10] = 1 - a[:10]
    units = [1] * 200
    difference = paired_difference(a.tolist(), units, b.tolist(), units, seed=0)
    alone = rate_interval(b.tolist(), units, seed=0)
    assert difference.value == pytest.approx((a.sum() - b.sum()) / 200)
    assert difference.low <= difference.value <= difference.high
    assert difference.high - difference.low < 0.6 * (alone.high - alone.low)
    same = paired_difference(a.tolist(), units, a.tolist(), units, seed=0)
    assert same == Interval(0.0, 0.0, 0.0)


def test_a_system_worse_on_every_row_is_worse_beyond_its_interval() -> None:
    units = [10] * 40
    difference = paired_difference([3] * 40, units, [1] * 40, units, seed=0)
    assert difference.low == difference.high == difference.value == pytest.approx(0.2)


def test_rows_without_a_unit_count_their_errors_and_none_at_all_is_no_rate() -> None:
    assert rate_interval([2, 1], [0, 4], seed=0).value == 3 / 4
    with pytest.raises(NoRateError, match="3 rows hold 0 units"):
        rate_interval([1, 2, 3], [0, 0, 0], seed=0)
    with pytest.raises(NoRateError, match="0 rows"):
        rate_interval([], [], seed=0)


def test_a_large_test_set_is_resampled_in_seconds() -> None:
    began = time.process_time()
    interval = rate_interval([1, 0, 2] * 5000, [10] * 15_000, seed=0)
    assert interval.low < 0.1 < interval.high
    assert time.process_time() - began < 10
