"""Rows that repeat another are listed, within a corpus and across."""

from __future__ import annotations

from pathlib import Path

import pytest
from leaking_rows import copied, fill, row, syllables

from validation.lake import Lake
from validation.leakage_duplicates import find_duplicates


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def test_duplicates_are_listed_once_each_with_the_first_of_them(lake):
    audio = {"x": syllables(2.0, 1), "y": copied(syllables(2.0, 1))}
    rows = [
        row("a1", audio="x", text="one two", speaker="s"),
        row("a2", audio="x", text="three", speaker="s"),
        row("a3", "test", text="One, two!", speaker="s"),
        row("a4", corpus="d", audio="x"),
        row("a5", corpus="d", audio="y"),
        row("a6", corpus="d", audio=None, messages="[]", text=""),
    ]
    corpora = fill(lake, rows, audio)
    outcome = find_duplicates(lake, corpora)
    found = lake.read_table("duplicates", "all").select(
        "kind", "corpus", "utterance_id", "of_corpus", "of_utterance_id"
    )
    assert set(found.iter_rows()) == {
        ("audio", "c", "a2", "c", "a1"),
        ("audio", "d", "a4", "c", "a1"),
        ("near_audio", "d", "a5", "c", "a1"),
        ("text", "c", "a3", "c", "a1"),
    }
    assert outcome.summary["kinds"] == {"audio": 2, "near_audio": 1, "text": 1}
    assert not find_duplicates(lake, corpora).recomputed


@pytest.mark.parametrize("names", [("x", "y"), ("y", "x")])
def test_the_earlier_row_is_the_one_that_is_repeated_whatever_its_digest(lake, names):
    first, second = names
    audio = {first: syllables(2.0, 1), second: copied(syllables(2.0, 1))}
    corpora = fill(lake, [row("a1", audio=first), row("a2", audio=second)], audio)
    find_duplicates(lake, corpora)
    found = lake.read_table("duplicates", "all").select("kind", "utterance_id", "of_utterance_id")
    assert found.rows() == [("near_audio", "a2", "a1")]


def test_of_rows_that_repeat_one_another_one_is_left(lake):
    audio = {"x": syllables(2.0, 1), "y": copied(syllables(2.0, 1))}
    rows = [row("a1", audio="x"), row("b1", corpus="d", audio="y"), row("c1", corpus="e", audio="x")]
    find_duplicates(lake, fill(lake, rows, audio))
    assert set(lake.read_table("duplicates", "all")["utterance_id"]) == {"b1", "c1"}
