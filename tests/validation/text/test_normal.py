"""One spelling for what reads the same, for one text and for a column alike."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from validation.text.normal import normal_text, normal_text_expr


def of_column(text: str) -> str:
    return pl.DataFrame({"text": [text]}).select(normal_text_expr("text")).item()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cafe\u0301", "café"),
        ("e\u200b\u0301", "é"),
        ("  a \t b\n\nc ", "a b c"),
        ("a\u00a0b\u3000c", "a b c"),
        ("\ufeffzero\u200bwidth soft\u00adhyphen", "zerowidth softhyphen"),
        # What is read stays: no compatibility forms, no case, no punctuation.
        ("m² ﬁne Ⅻ!", "m² ﬁne Ⅻ!"),
        # A zero-width joiner is spelling in Persian and in the scripts of India.
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("", ""),
    ],
)
def test_the_normal_form(text, wanted):
    assert normal_text(text) == of_column(text) == wanted


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_a_column_is_normalised_as_its_texts_are_and_once_is_enough(text):
    once = normal_text(text)
    assert of_column(text) == once
    assert normal_text(once) == once
