"""Mixtures by what is known of a row: refused where they make no sense, drawn in proportion, the same each time."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from training_jobs.drawing import Drawing, draw_weighted
from training_jobs.mixture import Mixture, MixtureError
from training_jobs.mixture_rules import Condition
from training_jobs.profile import MixtureItem
from validation.metadata import column_of, kind_of
from validation.strict import explain

_TYPES = {"texts": pl.List(pl.String), "number": pl.Float64}


def rows_of(values: list[dict[str, Any]], fields: tuple[str, ...]) -> pl.DataFrame:
    """Rows as pack selects them, with only what a test says."""
    frame = pl.DataFrame(
        {
            "corpus": [row.get("corpus", "c") for row in values],
            "task": [row.get("task", "asr") for row in values],
            "seconds": [row.get("seconds", 1.0) for row in values],
        }
    )
    columns = [
        pl.Series(column_of(field), [row.get(field) for row in values], _TYPES.get(kind_of(field), pl.String))
        for field in fields
    ]
    return frame.with_columns(columns)


def items_of(values: list[dict[str, Any]], *items: dict[str, Any]) -> list[int | None]:
    mixture = Mixture(
        [MixtureItem.model_validate({"task": "asr", "ratio": 1.0, **item}) for item in items], "cd"
    )
    return mixture.with_items(rows_of(values, mixture.fields))["item"].to_list()


def drawn(values: list[dict[str, Any]], seed: int = 0, **item: Any) -> np.ndarray[Any, np.dtype[np.int64]]:
    mixture = Mixture([MixtureItem.model_validate({"task": "asr", "ratio": 1.0, **item})], "cd")
    drawing = Drawing(mixture)
    rows = mixture.with_items(rows_of(values, mixture.fields))
    drawing.add(rows.filter(pl.col("item").is_not_null()))
    return np.bincount(drawing.draw(np.random.default_rng(seed)), minlength=len(values))


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (
            {"field": "colour", "op": "eq", "value": "red"},
            "no such field; there are corpus, speaker, language",
        ),
        ({"field": "metadata.", "op": "is_known"}, "no such field"),
        ({"field": 'metadata.a"b', "op": "is_known"}, "no such field"),
        ({"field": "snr_db", "op": "ge", "value": "loud"}, "snr_db: ge takes a number (got 'loud')"),
        ({"field": "snr_db", "op": "eq", "value": True}, "takes a number (got True)"),
        ({"field": "language", "op": "lt", "value": 3}, "language: lt takes numbers, and this is a text"),
        ({"field": "language", "op": "eq", "value": 3}, "takes a text (got 3)"),
        ({"field": "language", "op": "in", "value": "en"}, "takes a list, each a text"),
        ({"field": "language", "op": "in", "value": []}, "takes a list, each a text"),
        ({"field": "language", "op": "eq", "value": ["en"]}, "takes a text"),
        ({"field": "topic", "op": "is_known", "value": "yes"}, "takes true or false"),
        ({"field": "topic", "op": "like", "value": "a%"}, "Input should be 'eq', 'in', 'not_in'"),
    ],
)
def test_conditions_that_make_no_sense_are_refused_with_what_there_is(
    condition: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        MixtureItem.model_validate({"task": "asr", "ratio": 1.0, "where": [condition]})
    assert said in explain(caught.value)


@pytest.mark.parametrize(
    ("weight_by", "said"),
    [
        ({"by": "value", "field": "language"}, "language is a text, which is no weight"),
        ({"by": "map", "field": "mos", "weights": {"a": 1}}, "mos is a number"),
        ({"by": "temperature", "field": "mos", "alpha": 0.5}, "mos is a number"),
        ({"by": "temperature", "field": "speaker", "alpha": 2}, "less than or equal to 1"),
        ({"by": "map", "field": "language", "weights": {"en": -1}}, "greater than or equal to 0"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weight_by: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        MixtureItem.model_validate({"task": "asr", "ratio": 1.0, "weight_by": weight_by})
    assert said in explain(caught.value)


@pytest.mark.parametrize(
    ("condition", "meet"),
    [
        ({"field": "snr_db", "op": "ge", "value": 15}, [1]),
        ({"field": "snr_db", "op": "lt", "value": 15.0}, [0]),
        ({"field": "snr_db", "op": "is_known"}, [0, 1]),
        ({"field": "snr_db", "op": "is_known", "value": False}, [2]),
        ({"field": "language", "op": "eq", "value": "en"}, [0, 2]),
        ({"field": "language", "op": "in", "value": ["zh", "fr"]}, [1]),
        ({"field": "topic", "op": "not_in", "value": ["news"]}, [1]),
        ({"field": "speaker", "op": "eq", "value": "ann"}, [0]),
        ({"field": "speaker", "op": "in", "value": ["ann", "ben"]}, [0, 1]),
        ({"field": "speaker", "op": "not_in", "value": ["ann"]}, []),
        ({"field": "speaker", "op": "is_known"}, [0, 1]),
        ({"field": "difficulty", "op": "le", "value": 2}, [0]),
        ({"field": "difficulty", "op": "eq", "value": "hard"}, [1]),
        ({"field": "metadata.votes", "op": "gt", "value": 3}, [1]),
        ({"field": "metadata.votes", "op": "in", "value": [2, "none"]}, [0, 2]),
    ],
)
def test_a_condition_is_met_by_just_these_rows(condition: dict[str, Any], meet: list[int]) -> None:
    values = [
        {"snr_db": 10.0, "language": "en", "topic": "news", "speaker": ["ann"], "difficulty": "2"},
        {"snr_db": 20.0, "language": "zh", "topic": "food", "speaker": ["ann", "ben"], "difficulty": "hard"},
        {"language": "en", "speaker": ["unknown"]},
    ]
    for row, votes in zip(values, ("2", "4", "none"), strict=True):
        row["metadata.votes"] = votes
    found = rows_of(values, (condition["field"],)).select(Condition.model_validate(condition).expression())
    assert [index for index, is_met in enumerate(found.to_series()) if is_met] == meet


def test_the_first_entry_that_takes_a_row_speaks_for_it_and_those_of_its_corpus_shut_out_the_others() -> None:
    values = [{"corpus": corpus, "snr_db": snr} for corpus in "cd" for snr in (5.0, 15.0, 25.0)]
    clean = {"where": [{"field": "snr_db", "op": "ge", "value": 20}]}
    fair = {"where": [{"field": "snr_db", "op": "ge", "value": 10}]}
    assert items_of(values, clean, fair) == [None, 1, 0, None, 1, 0]
    # Of d only clean rows: what its own entry does not take, no entry at large does.
    assert items_of(values, {}, {"corpus": "d", **clean}) == [0, 0, 0, None, None, 1]


def test_conditions_that_no_row_meets_are_an_error_with_counts() -> None:
    item = {"field": "metadata.votes", "op": "ge", "value": 9}
    mixture = Mixture([MixtureItem.model_validate({"task": "asr", "ratio": 1.0, "where": [item]})], "c")
    said = r"entry asr: where \[metadata.votes ge 9\] is met by none of 7 training rows; metadata has age, up_votes"
    with pytest.raises(MixtureError, match=said):
        mixture.check([7], [0], lambda: ["age", "up_votes"])
    mixture.check([0], [0], list)  # there are no such rows at all, as for an entry without conditions


def test_values_weigh_and_what_is_unknown_does_not_unless_said() -> None:
    values: list[dict[str, Any]] = [{"mos": 1.0}, {"mos": 3.0}, {}]
    times = sum(
        drawn(values, seed, ratio=4.0, weight_by={"by": "value", "field": "mos"}) for seed in range(50)
    )
    assert times[2] == 0
    assert times.sum() == 50 * 12
    assert times[1] == pytest.approx(3 * times[0], rel=0.1)
    by = {"by": "value", "field": "mos", "unknown": 4.0}
    assert drawn(values, ratio=8.0, weight_by=by).tolist() == [3, 9, 12]


def test_a_map_gives_each_value_its_weight() -> None:
    values = [{"language": tag} for tag in ("en", "en", "zh", "fr")]
    by = {"by": "map", "field": "language", "weights": {"en": 1, "zh": 2}}
    assert drawn(values, ratio=4.0, weight_by=by).tolist() == [4, 4, 8, 0]


@pytest.mark.parametrize(("alpha", "shares"), [(1.0, [0.9, 0.1]), (0.5, [0.75, 0.25]), (0.0, [0.5, 0.5])])
def test_a_temperature_flattens_the_shares_of_the_values(alpha: float, shares: list[float]) -> None:
    values = [{"language": "en"}] * 900 + [{"language": "zh"}] * 100
    by = {"by": "temperature", "field": "language", "alpha": alpha}
    times = drawn(values, ratio=1.0, weight_by=by)
    assert times.sum() == 1000
    assert [times[:900].sum() / 1000, times[900:].sum() / 1000] == pytest.approx(shares, abs=2e-3)
    # Rows of a value alike: each as often as it is due, or once more.
    assert np.ptp(times[900:]) <= 1


def test_weights_of_nothing_are_an_error_that_names_the_entry() -> None:
    by = {"by": "map", "field": "language", "weights": {"fr": 1}}
    with pytest.raises(
        MixtureError, match=r"entry asr: weight_by language map .* gives each of 2 rows the weight 0"
    ):
        drawn([{"language": "en"}] * 2, weight_by=by)
    with pytest.raises(MixtureError, match="2 of 2 rows have a weight below 0, such as -20"):
        drawn([{"loudness_lufs": -20.0}] * 2, weight_by={"by": "value", "field": "loudness_lufs"})


@given(st.lists(st.floats(0, 10), min_size=1, max_size=40), st.floats(0.1, 5), st.integers(0, 99))
def test_as_many_are_drawn_as_asked_for_each_as_often_as_due(
    weights: list[float], ratio: float, seed: int
) -> None:
    values = np.array(weights) + 1e-3
    indices = draw_weighted(values, ratio, np.random.default_rng(seed))
    times = np.bincount(indices, minlength=len(values))
    wanted = max(1, round(len(values) * ratio))
    due = values / values.sum() * wanted
    assert times.sum() == wanted
    assert (np.abs(times - due) < 1 + 1e-6).all()
    assert indices.tolist() == draw_weighted(values, ratio, np.random.default_rng(seed)).tolist()
