"""Rows come into order through files: each once, whatever the order in which they were, and few of them at a time."""

from __future__ import annotations

import random

import polars as pl
import pytest

from validation import ordering
from validation.batches import database
from validation.lake import Lake
from validation.ordering import Rows, in_order_of_numbers, in_order_of_texts


def frame(numbers: list[int]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "number": numbers,
            "words": [[str(one)] for one in numbers],
            "none": pl.Series([None] * len(numbers)),
        }
    )


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(ordering, "_STRETCH", 64)
    monkeypatch.setattr(ordering, "_ROWS", 50)


@pytest.mark.parametrize("shuffled", [False, True])
def test_numbers_come_in_their_order_with_all_columns(shuffled):
    numbers = [one for one in range(1_000) if one % 7]
    given = random.Random(3).sample(numbers, len(numbers)) if shuffled else numbers
    batches = (frame(given[start : start + 90]) for start in range(0, len(given), 90))

    found = list(in_order_of_numbers(batches, "number"))

    assert pl.concat(found).equals(frame(numbers))
    assert max(one.height for one in found) <= 50


def test_texts_come_in_the_order_of_their_bytes(tmp_path):
    texts = [f"{sign}{number}" for sign in ("a", "é", "中", "Z", "") for number in range(200)]
    random.Random(3).shuffle(texts)
    with database(Lake(str(tmp_path))) as connection:
        connection.register("given", pl.DataFrame({"text": texts, "place": range(1_000)}).to_arrow())
        found = pl.concat(in_order_of_texts(connection, "given", "text"))

    assert found["text"].to_list() == sorted(texts, key=str.encode)
    assert found["place"].to_list() == sorted(range(1_000), key=lambda place: texts[place].encode())
    assert found.columns == ["text", "place"]


def test_no_rows_are_in_order():
    assert list(in_order_of_numbers([], "number")) == []


def test_as_many_rows_are_taken_as_are_asked_for_and_those_that_are_left():
    rows = Rows(frame([*range(start, start + 10)]) for start in (0, 10, 20))

    taken = [rows.take(one) for one in (3, 15, 20, 1)]

    assert [None if one is None else one["number"].to_list() for one in taken] == [
        [*range(3)],
        [*range(3, 18)],
        [*range(18, 30)],
        None,
    ]
