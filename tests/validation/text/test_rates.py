"""How fast texts are spoken, against the recording and against the corpus' own distribution."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from validation.text import rates as of_texts
from validation.text.rates import SpeakingRates, chars_per_second_expr, with_rate_deviation


def test_characters_per_second_need_a_transcript():
    table = pl.DataFrame({"text": [" hello ", "  ", "\x1f", "字字"], "duration_s": [2.0] * 4})
    assert table.select(chars_per_second_expr()).to_series().to_list() == [2.5, None, None, 1.0]


@pytest.fixture
def rates():
    def run(values: list[float | None], languages: list[str] | str = "en") -> list[float | None]:
        table = pl.DataFrame(
            {"chars_per_second": values}, schema={"chars_per_second": pl.Float64}
        ).with_columns(
            language=pl.Series([languages] * len(values) if isinstance(languages, str) else languages)
        )
        gathered = SpeakingRates()
        for batch in table.iter_slices(7):
            gathered.add(batch)
        return with_rate_deviation(table, gathered.distribution())["rate_deviation"].to_list()

    return run


def test_a_rate_is_far_from_the_corpus_own_on_either_side(rates):
    usual = [12.0 + 0.05 * index for index in range(100)]
    found = rates([*usual, 90.0, 1.0, None])
    assert max(abs(value) for value in found[:100]) < 3
    assert found[100] > 8 and found[101] < -8 and found[102] is None


def test_the_deviation_is_in_robust_standard_deviations_of_the_logarithm(rates):
    usual = [math.exp(x) for x in (-2, -1, 0, 1, 2)] * 10
    assert rates(usual)[0] == pytest.approx(-2 / 1.4826)


def test_rates_that_are_no_numbers_leave_the_others_their_distribution(rates):
    usual = [12.0 + 0.05 * index for index in range(100)]
    assert rates([*usual, math.inf, math.nan, 0.0])[:100] == pytest.approx(rates(usual))


def test_few_rows_or_equal_ones_have_no_distribution(rates):
    assert set(rates([12.0] * 49)) == {None}
    assert set(rates([12.0] * 100)) == {None}


def test_each_language_has_its_own_rate(rates):
    english, mandarin = [12 + 0.05 * i for i in range(60)], [4 + 0.02 * i for i in range(60)]
    found = rates([*english, *mandarin], ["en"] * 60 + ["zh"] * 60)
    assert max(abs(value) for value in found) < 3


def test_numbers_of_a_corpus_of_any_size_are_few_and_give_its_median(monkeypatch):
    monkeypatch.setattr(of_texts, "_MOST_COUNTS", 3_000)
    values = np.random.default_rng(0).lognormal(2.5, 0.3, 200_000)
    table = pl.DataFrame({"language": "en", "chars_per_second": values})
    gathered = SpeakingRates()
    for batch in table.iter_slices(5_000):
        gathered.add(batch)
        assert sum(part.height for part in gathered._counted) < 25_000
    (row,) = gathered.distribution().rows(named=True)
    logs = np.log(values)
    assert row["_median"] == pytest.approx(np.median(logs), abs=3e-4)
    deviation = np.median(np.abs(logs - np.median(logs)))
    assert row["_spread"] == pytest.approx(1.4826 * deviation, abs=6e-4)
