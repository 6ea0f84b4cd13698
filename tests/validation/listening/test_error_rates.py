"""Error rates forgive spelling, not words, and say nothing of what is too short."""

from __future__ import annotations

import pytest

from validation.listening.error_rates import error_rates


@pytest.mark.parametrize(
    ("text", "heard", "words"),
    [
        ("MISTER QUILTER IS HERE", "Mister Quilter is here.", 0.0),
        ("don’t you dare", "Don't you dare!", 0.0),
        ("one two three four", "one two four", 0.25),
        ("one two three four", "", 1.0),
        ("a b c", "x y z a b c d", 4 / 3),
    ],
)
def test_words(text, heard, words):
    assert error_rates(text, heard, "en")[0] == pytest.approx(words)


def test_characters_where_no_spaces_part_the_words():
    words, characters = error_rates("今天天气很好我们走", "今天天气很坏我们走。", "zh")
    assert words is None
    assert characters == pytest.approx(1 / 9)


def test_vowels_that_are_marks_count():
    words, characters = error_rates("मेरा नाम राम है", "मेरी नमी रमा है", "hi")
    assert words == pytest.approx(3 / 4)
    assert characters == pytest.approx(5 / 15)
    assert error_rates("กินข้าวที่บ้าน", "กนขาวทบาน", "th")[1] == pytest.approx(5 / 14)


@pytest.mark.parametrize(
    ("text", "language"), [("five", "en"), ("two words", "en"), ("你好", "zh"), ("!?", "en")]
)
def test_short_texts_have_no_rate(text, language):
    assert error_rates(text, "something else", language) == (None, None)
