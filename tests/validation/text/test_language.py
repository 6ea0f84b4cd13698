"""The language of a text."""

from __future__ import annotations

import pytest

from validation.text.language import language_probabilities


@pytest.mark.parametrize(
    ("text", "language", "is_right"),
    [
        ("the quick brown fox jumps over the lazy dog", "en", True),
        ("MISTER QUILTER IS THE APOSTLE OF THE MIDDLE CLASSES", "en", True),
        ("der schnelle braune Fuchs springt über den faulen Hund", "en", False),
        ("der schnelle braune Fuchs springt über den faulen Hund", "de-AT", True),
        ("上海是一个很大的城市，我们每天都很忙，也很高兴能在这里生活", "zh-CN", True),
        ("上海是一个很大的城市，我们每天都很忙，也很高兴能在这里生活", "ja", False),
        ("il était une fois une petite fille qui habitait dans la forêt", "es", False),
    ],
)
def test_a_sentence_has_the_probability_of_its_language(text, language, is_right):
    (probability,) = language_probabilities([text], [language])
    assert probability is not None
    assert (probability > 0.9) is is_right and (probability < 0.1) is not is_right


@pytest.mark.parametrize(
    ("text", "language"),
    [("zwei", "en"), ("", "en"), (None, "en"), ("nuqneH qaStaH nuq jay' tlhIngan", "tlh")],
)
def test_nothing_is_said_of_short_texts_and_unknown_languages(text, language):
    assert language_probabilities([text], [language]) == [None]
