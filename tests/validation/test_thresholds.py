"""Thresholds: typed, overridable one by one, and refused where they make no sense."""

from __future__ import annotations

import pytest

from validation.thresholds import ThresholdError, load_thresholds


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
        ({"min_level_dbfs": -95.0}, "silence_level_dbfs = -90.0 must be below min_level_dbfs"),
        ({"note_snr_db": -5.0}, "min_snr_db = 2.0 must be below note_snr_db"),
        ({"unwanted_words": ["fine", "  "]}, "unwanted_words"),
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
