"""Each violation names value, limit and unit, and a whole table is judged as its rows are."""

from __future__ import annotations

import polars as pl
import pytest

from validation.checks import CHECKS, NOTES, Check, RowChecks, Violation, checks_of, is_outside
from validation.ledger import OUTCOME_OF, REASONS
from validation.thresholds import ThresholdError, Thresholds, load_thresholds

GOOD = {
    "duration_s": 4.0,
    "source_rate_hz": 16_000,
    "level_dbfs": -60.0,
    "peak_dbfs": -40.0,
    "clipped_share": 0.0,
    "longest_clip_s": 0.0,
    "dc_offset": 0.0,
    "longest_dropout_s": 0.0,
    "silence_share": 0.2,
    "leading_silence_s": 0.3,
    "trailing_silence_s": 0.3,
    "snr_db": 30.0,
    "hum_db": None,
    "dynamic_range_db": 30.0,
    "bandwidth_hz": 7_000.0,
    "bandwidth_share": 0.9,
    "dead_channels": 0,
    "channel_correlation": 1.0,
    "nonfinite_samples": 0,
    "chars_per_second": 14.0,
    "rate_deviation": 0.5,
    "speech_share": None,
    "mos": None,
    "word_error_rate": None,
    "char_error_rate": None,
    "control_characters": 0,
    "script_share": 1.0,
    "repeated_share": 0.0,
    "text_occurrences": 1,
    "unwanted_words": None,
    "language_probability": None,
}
OUTSIDE = [
    ({"nonfinite_samples": 1}, "non_finite"),
    ({"level_dbfs": -95.0}, "silent"),
    ({"level_dbfs": -77.0}, "too_quiet"),
    ({"level_dbfs": -1.0}, "too_loud"),
    ({"duration_s": 0.05}, "too_short"),
    ({"duration_s": 90.0}, "too_long"),
    ({"source_rate_hz": 4_000}, "sample_rate"),
    ({"clipped_share": 0.1}, "clipped"),
    ({"longest_clip_s": 0.1}, "clipped"),
    ({"dc_offset": -0.3}, "dc_offset"),
    ({"dead_channels": 1}, "dead_channel"),
    ({"channel_correlation": -0.97}, "anti_phase"),
    ({"longest_dropout_s": 0.4}, "dropout"),
    ({"silence_share": 0.99}, "mostly_silence"),
    ({"leading_silence_s": 4.0}, "long_silence"),
    ({"trailing_silence_s": 4.0}, "long_silence"),
    ({"snr_db": 1.3}, "noisy"),
    ({"snr_db": 3.1}, "very_noisy"),
    ({"hum_db": 3.0}, "hum"),
    ({"dynamic_range_db": 0.4}, "no_dynamics"),
    ({"bandwidth_hz": 300.0}, "narrow_band"),
    ({"bandwidth_share": 0.49}, "upsampled"),
    ({"speech_share": 0.05}, "no_speech"),
    ({"mos": 1.1}, "low_mos"),
    ({"chars_per_second": 0.1}, "text_too_short"),
    ({"chars_per_second": 80.0}, "text_too_long"),
    ({"rate_deviation": -11.0}, "text_rate_outlier"),
    ({"control_characters": 1}, "control_characters"),
    ({"script_share": 0.1}, "wrong_script"),
    ({"language_probability": 0.01}, "wrong_language"),
    ({"repeated_share": 0.9}, "repetitive_text"),
    ({"text_occurrences": 5_000}, "template_text"),
    ({"unwanted_words": 2}, "unwanted_words"),
    ({"word_error_rate": 0.8}, "transcript_mismatch"),
    ({"char_error_rate": 0.8}, "transcript_mismatch"),
]


def violations(
    limits: Thresholds, measures: dict, language: str, checks: tuple[Check, ...] = CHECKS
) -> list[Violation]:
    return RowChecks(limits, checks).violations(measures, language)


def found(language: str = "en", **measures) -> list[Violation]:
    return violations(load_thresholds(), {**GOOD, **measures}, language)


def test_good_quiet_speech_violates_nothing():
    assert found() == []
    assert found(chars_per_second=None) == []
    assert violations(load_thresholds(), {}, "en") == []


@pytest.mark.parametrize(("measures", "reason"), OUTSIDE)
def test_each_measure_out_of_its_limits_has_a_reason(measures, reason):
    violation, *others = found(**measures)
    assert violation.reason == reason
    assert others == [] or reason in ("silent", "noisy")
    (value,) = measures.values()
    assert violation.value == value
    assert f"{value:.6g}" in violation.detail and f"{violation.limit:g}" in violation.detail


def test_the_limit_below_zero_is_told_of_values_below_zero():
    (violation,) = found(dc_offset=-0.2)
    assert (violation.value, violation.limit) == (-0.2, -0.1)
    assert "-0.2 of full scale is below the limit of -0.1 of full scale" in violation.detail


def test_each_check_is_tried():
    assert {reason for _, reason in OUTSIDE} == {check.reason for check in CHECKS}


def test_limits_themselves_are_allowed():
    limits = load_thresholds()
    assert (
        found(level_dbfs=limits.min_level_dbfs, snr_db=limits.review_snr_db, duration_s=limits.max_duration_s)
        == []
    )


def test_a_value_that_is_no_number_violates():
    assert found(snr_db=float("nan"))[0].reason == "noisy"


def test_the_cause_comes_before_what_it_brings_about():
    silent = found(level_dbfs=-120.0, silence_share=1.0, snr_db=-3.0, bandwidth_hz=0.0)
    expected = ["silent", "too_quiet", "mostly_silence", "noisy", "very_noisy", "narrow_band"]
    assert [one.reason for one in silent] == expected


def test_noise_that_is_tolerated_is_still_told():
    assert found(snr_db=12.0) == []
    (note,) = violations(load_thresholds(), {**GOOD, "snr_db": 12.0}, "en", NOTES)
    assert (note.reason, note.value, note.limit) == ("background_noise", 12.0, 23.0)
    assert OUTCOME_OF[note.reason] == "accepted"
    phrase = {**GOOD, "snr_db": 12.0, "duration_s": 2.3}
    assert violations(load_thresholds(), phrase, "en", NOTES) == []


NEAR = {"min_snr_db": 3.0, "max_clipped_share": 0.004, "max_dc_offset": 0.05, "max_chars_per_second": 3.0}


def test_what_is_near_a_limit_is_for_a_person_where_the_thresholds_say_how_near():
    assert load_thresholds().review_within == {} and checks_of(load_thresholds()) == CHECKS
    limits = load_thresholds().overridden({"review_within": NEAR})
    checks = checks_of(limits)
    for measures, edge in (
        ({"snr_db": 4.5}, 5.0),
        ({"clipped_share": 0.007}, 0.006),
        ({"dc_offset": -0.06}, -0.05),
        ({"chars_per_second": 38.0}, 37.0),
    ):
        (near,) = violations(limits, {**GOOD, **measures}, "en", checks)
        ((value,),) = [measures.values()]
        assert (near.reason, near.value, near.limit) == ("near_limit", value, pytest.approx(edge))
        assert f"{value:.6g}" in near.detail and "within" in near.detail
        assert OUTCOME_OF[near.reason] == "quarantined" and found(**measures) == []
    assert violations(limits, {**GOOD, "snr_db": 5.5}, "en", checks) == []
    past = violations(limits, {**GOOD, "clipped_share": 0.5}, "en", checks)
    assert [one.reason for one in past] == ["clipped"]
    # Of a corpus' own limit, by language.
    assert violations(limits, {**GOOD, "chars_per_second": 10.0}, "zh", checks)[0].limit == 9.0


@pytest.mark.parametrize(
    "within", [{"snr_db": 1.0}, {"min_nothing": 1.0}, {"min_snr_db": 0.0}, {"unwanted_words": 1.0}]
)
def test_a_band_of_no_limit_is_refused(within):
    with pytest.raises(ThresholdError, match="review_within"):
        load_thresholds().overridden({"review_within": within})


@pytest.mark.parametrize(
    ("language", "violates"), [("en", False), ("zh", True), ("zh-CN", True), ("ZH_tw", True)]
)
def test_a_mandarin_character_takes_longer_than_a_letter(language, violates):
    assert bool(found(language=language, chars_per_second=20.0)) is violates


def test_a_table_is_judged_as_its_rows_are():
    changes = [{}, *(change for change, _ in OUTSIDE), {"snr_db": float("nan")}, {"chars_per_second": 20.0}]
    changes += [{"snr_db": 12.0}, {"snr_db": 12.0, "duration_s": 2.3}]
    rows = [
        {**GOOD, **change, "language": language}
        for change in changes
        for language in ("en", "zh-CN", "ZH_tw")
    ]
    table = pl.DataFrame(rows, infer_schema_length=None)
    limits = load_thresholds()
    near = load_thresholds().overridden({"review_within": NEAR})
    rows += [{**row, "clipped_share": 0.007} for row in rows]
    table = pl.DataFrame(rows, infer_schema_length=None)
    for said, checks in ((limits, CHECKS), (limits, NOTES), (near, checks_of(near))):
        judged = table.select(is_outside(said, table.columns, checks)).to_series().to_list()
        assert judged == [bool(violations(said, row, row["language"], checks)) for row in rows]


def test_a_table_without_a_measure_is_not_judged_by_it():
    table = pl.DataFrame({"language": ["en"], "text_occurrences": [2_000]})
    limits = load_thresholds()
    assert table.select(is_outside(limits, table.columns)).item() is True
    assert table.select(is_outside(limits, ["language"])).item() is False


def test_every_reason_has_one_outcome():
    assert set(OUTCOME_OF) == set(REASONS)
