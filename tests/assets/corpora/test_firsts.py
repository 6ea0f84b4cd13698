"""The first row of each name, over batches of rows."""

from __future__ import annotations

from assets.corpora.firsts import Firsts


def test_the_first_of_each_name_is_told_within_and_across_batches():
    with Firsts() as firsts:
        assert firsts.of([]) == []
        assert firsts.of([("a", "1", "x"), ("b", "2", "y")]) == [("a", "1", "x"), ("b", "2", "y")]
        assert firsts.of([("c", "3", "z"), ("a", "4", "w"), ("c", "5", "v")]) == [
            ("c", "3", "z"),
            ("a", "1", "x"),
            ("c", "3", "z"),
        ]
