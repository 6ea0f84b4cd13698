"""Drift: what a corpus may change by is told apart from what it may not, in figures that can be worked out on paper."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from validation.drift import Amount, DriftLimits, MeasureProfile, Profile, find_drift, median_shift

LIMITS = DriftLimits()


def amount(rows: int, hours: float | None = None) -> Amount:
    return Amount(rows=rows, hours=rows / 1000 if hours is None else hours)


def profile(**more: Any) -> Profile:
    values: dict[str, Any] = {
        "read": amount(1000),
        "outcomes": {"accepted": amount(900), "rejected": amount(100)},
        "splits": {"train": amount(900)},
        "languages": {"en": amount(800), "zh": amount(100)},
        "reasons": {"accepted": amount(900), "too_quiet": amount(100)},
        "measures": {"snr_db": measure(30.0, 10.0)},
        "voices": 7,
    }
    return Profile(**{**values, **more})


def measure(median: float, spread: float, rows: int = 900) -> MeasureProfile:
    half = spread / 2
    return MeasureProfile(
        rows=rows, quantiles=(median - spread, median - half, median, median + half, median + spread)
    )


def kinds(before: Profile, now: Profile, limits: DriftLimits = LIMITS) -> list[tuple[str, str]]:
    return [(finding.kind, finding.name) for finding in find_drift(before, now, limits)]


def test_the_same_state_has_not_drifted() -> None:
    assert find_drift(profile(), profile(), LIMITS) == []


@pytest.mark.parametrize(("hours", "found"), [(0.81, []), (0.809, [("hours", "accepted")]), (2.0, [])])
def test_a_tenth_of_the_hours_may_go(hours: float, found: list[tuple[str, str]]) -> None:
    now = profile(outcomes={"accepted": amount(900, hours)})
    assert kinds(profile(), now) == found


def test_a_finding_names_both_figures_and_the_limit() -> None:
    (finding,) = find_drift(profile(), profile(outcomes={"accepted": amount(450, 0.45)}), LIMITS)
    assert (finding.value, finding.limit) == (pytest.approx(0.5), 0.1)
    assert finding.detail == "accepted: 0.45 h after 0.9 h, 50.0% less; the limit is 10.0%"


def test_a_corpus_of_texts_is_compared_by_its_rows() -> None:
    before = profile(outcomes={"accepted": amount(900, 0.0)})
    assert kinds(before, profile(outcomes={"accepted": amount(800, 0.0)})) == [("hours", "accepted")]
    assert kinds(before, profile(outcomes={"accepted": amount(850, 0.0)})) == []


def test_nothing_accepted_before_is_no_loss() -> None:
    assert kinds(profile(outcomes={}), profile()) == []


@pytest.mark.parametrize(("median", "drifted"), [(35.0, False), (35.1, True), (24.9, True)])
def test_a_median_may_move_by_half_its_interquartile_range(median: float, drifted: bool) -> None:
    found = kinds(profile(), profile(measures={"snr_db": measure(median, 1.0)}))
    assert found == ([("median", "snr_db")] if drifted else [])


def test_rows_that_are_all_alike_are_measured_by_the_least_range_that_means_something() -> None:
    before = profile(measures={"snr_db": measure(30.0, 0.0)})
    assert kinds(before, profile(measures={"snr_db": measure(30.4, 0.0)})) == []
    assert kinds(before, profile(measures={"snr_db": measure(30.6, 0.0)})) == [("median", "snr_db")]


def test_a_median_of_few_rows_is_not_compared() -> None:
    few = measure(90.0, 1.0, rows=9)
    assert median_shift("snr_db", measure(30.0, 10.0), few) is None
    assert kinds(profile(), profile(measures={"snr_db": few})) == []


def test_a_model_that_was_turned_off_is_no_drift() -> None:
    assert kinds(profile(measures={"mos": measure(3.0, 0.4)}), profile()) == []


def test_a_reason_may_take_five_points_more() -> None:
    rows = {"accepted": amount(900), "too_quiet": amount(100), "clipped": amount(51)}
    assert kinds(profile(), profile(reasons=rows)) == [("reason", "clipped")]
    assert kinds(profile(), profile(reasons=rows | {"clipped": amount(50)})) == []
    assert kinds(profile(), profile(reasons={"accepted": amount(1000)})) == []


@pytest.mark.parametrize("reason", ["accepted_by_review", "rejected_by_review", "forgotten"])
def test_what_people_decide_is_no_drift(reason: str) -> None:
    rows = {"accepted": amount(900), "too_quiet": amount(100), reason: amount(500)}
    assert kinds(profile(), profile(reasons=rows)) == []


def test_a_language_that_vanished_is_told_whatever_the_hours() -> None:
    assert kinds(profile(), profile(languages={"en": amount(900)})) == [("language", "zh")]
    assert kinds(profile(), profile(languages={"en": amount(899), "zh": amount(1), "de": amount(1)})) == []


def test_limits_are_the_corpus_own() -> None:
    now = profile(outcomes={"accepted": amount(450)}, measures={"snr_db": measure(60.0, 1.0)})
    wide = DriftLimits(max_hours_loss=0.6, max_median_shift=4.0)
    assert kinds(profile(), now, wide) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_hour_loss": 0.1}, "max_hour_loss"),
        ({"max_hours_loss": 10}, "max_hours_loss"),
        ({"max_median_shift": 0}, "max_median_shift"),
        ({"on_drift": "stop"}, "on_drift"),
    ],
)
def test_unknown_keys_and_impossible_values_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DriftLimits.model_validate(wrong)
