"""Thresholds: typed, overridable one by one, and each violation names value, limit and unit."""

from __future__ import annotations

import pytest

from validation.ledger import OUTCOME_OF, REASONS
from validation.thresholds import ThresholdError, Violation, load_thresholds, violations

GOOD = {
    "duration_s": 2.0,
    "source_rate_hz": 16_000,
    "level_dbfs": -60.0,
    "peak_dbfs": -40.0,
    "clipped_share": 0.0,
    "dc_offset": 0.0,
    "silence_share": 0.2,
    "snr_db": 30.0,
    "bandwidth_hz": 7_000.0,
    "nonfinite_samples": 0,
    "chars_per_second": 14.0,
}


def found(language: str = "en", **measures) -> list[Violation]:
    return violations(load_thresholds(), {**GOOD, **measures}, language)


def test_good_quiet_speech_violates_nothing():
    assert found() == []
    assert found(chars_per_second=None) == []


@pytest.mark.parametrize(
    ("measures", "reason"),
    [
        ({"nonfinite_samples": 1}, "non_finite"),
        ({"level_dbfs": -95.0}, "silent"),
        ({"level_dbfs": -1.0}, "too_loud"),
        ({"duration_s": 0.05}, "too_short"),
        ({"duration_s": 90.0}, "too_long"),
        ({"source_rate_hz": 4_000}, "sample_rate"),
        ({"clipped_share": 0.1}, "clipped"),
        ({"dc_offset": -0.3}, "dc_offset"),
        ({"silence_share": 0.99}, "mostly_silence"),
        ({"snr_db": 0.5}, "noisy"),
        ({"bandwidth_hz": 300.0}, "narrow_band"),
        ({"chars_per_second": 0.1}, "text_too_short"),
        ({"chars_per_second": 80.0}, "text_too_long"),
    ],
)
def test_each_measure_out_of_its_limits_has_a_reason(measures, reason):
    (violation,) = found(**measures)
    assert violation.reason == reason
    (value,) = measures.values()
    assert violation.value == value
    assert f"{value:.6g}" in violation.detail and f"{violation.limit:g}" in violation.detail


def test_limits_themselves_are_allowed():
    limits = load_thresholds()
    assert (
        found(level_dbfs=limits.min_level_dbfs, snr_db=limits.min_snr_db, duration_s=limits.max_duration_s)
        == []
    )


def test_a_value_that_is_no_number_violates():
    assert found(snr_db=float("nan"))[0].reason == "noisy"


def test_the_cause_comes_before_what_it_brings_about():
    silent = found(level_dbfs=-120.0, silence_share=1.0, snr_db=0.0, bandwidth_hz=0.0)
    assert [one.reason for one in silent] == ["silent", "mostly_silence", "noisy", "narrow_band"]


@pytest.mark.parametrize(
    ("language", "violates"), [("en", False), ("zh", True), ("zh-CN", True), ("ZH_tw", True)]
)
def test_a_mandarin_character_takes_longer_than_a_letter(language, violates):
    assert bool(found(language=language, chars_per_second=20.0)) is violates


def test_overriding_replaces_only_what_is_named():
    base = load_thresholds()
    changed = base.overridden({"min_snr_db": 15.0, "max_chars_per_second": {"de": 30.0}})
    assert changed.min_snr_db == 15.0
    assert changed.max_chars_per_second == {**base.max_chars_per_second, "de": 30.0}
    assert (
        changed.model_copy(
            update={"min_snr_db": base.min_snr_db, "max_chars_per_second": base.max_chars_per_second}
        )
        == base
    )


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"min_snr": 3.0}, "min_snr"),
        ({"max_silence_share": 1.5}, "less than or equal to 1"),
        ({"min_duration_s": 100.0}, "must be below max_duration_s"),
        ({"min_snr_db": float("nan")}, "finite number"),
        ({"min_snr_db": "loud"}, "'loud'"),
        ({"max_chars_per_second": {"zh-CN": 30.0}}, "zh-CN"),
        ({"max_chars_per_second": {"ZH": 30.0}}, "ZH"),
        ({"min_chars_per_second": {"default": -3.0}}, r"default: .*greater than 0.*-3\.0"),
        ({"min_chars_per_second": {"default": 50.0}}, r"default: min_chars_per_second = 50\.0 must be below"),
        # English has no lower limit of its own: the default's is above its upper one.
        ({"max_chars_per_second": {"en": 0.5}}, r"en: min_chars_per_second = 1\.0 must be below"),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(values, said):
    with pytest.raises(ThresholdError, match=said):
        load_thresholds().overridden(values)


def test_a_file_of_thresholds_is_checked_too(tmp_path):
    path = tmp_path / "limits.yaml"
    path.write_text("min_duration_s: 1\n")
    with pytest.raises(ThresholdError, match=r"limits\.yaml: max_duration_s: Field required"):
        load_thresholds(path)


def test_every_reason_has_one_outcome():
    assert set(OUTCOME_OF) == set(REASONS)
