"""Measures of texts: what is wrong with a transcript is counted, what is merely unusual is not."""

from __future__ import annotations

import polars as pl
import pytest

from validation.text.measures import COLUMNS, text_keys, text_measures


def measured(text: str | None, language: str = "en", unwanted: tuple[str, ...] = (), copies: int = 1) -> dict:
    table = pl.DataFrame(
        {"text": [text] * copies, "language": [language] * copies},
        schema={"text": pl.String, "language": pl.String},
    )
    return text_measures(table, unwanted).row(0, named=True)


@pytest.mark.parametrize("text", [None, "", "  \n "])
def test_no_text_has_no_measures(text):
    found = measured(text)
    assert {name: found[name] for name in COLUMNS} == dict.fromkeys(COLUMNS)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("plain text,\twith\nwhite space", 0),
        ("bell\a", 1),
        ("\x00\x7f\x9f", 3),
        ("not read: \ufffd\ufffd", 2),
        ("turned \u202eround\u202c", 2),
        ("private \ue000, unassigned \U000e0080", 2),
        ("emoji 👩‍👩‍👧 and ΑΒΓ are text", 0),
    ],
)
def test_control_characters_are_counted(text, count):
    assert measured(text)["control_characters"] == count


@pytest.mark.parametrize(
    ("text", "language", "share"),
    [
        ("HELLO WORLD", "en", 1.0),
        ("Привет, мир", "en", 0.0),
        ("Привет, мир", "ru", 1.0),
        ("Ёлка і їжак", "uk", 1.0),
        ("今天天气很好", "zh-CN", 1.0),
        ("wo men qu", "zh", 0.0),
        ("用Python写代码", "zh", 0.4),
        ("カタカナとひらがなと漢字", "ja", 1.0),
        # Letters that scripts share are nobody's: the length mark, the Arabic stretching.
        ("スーパーでビールとコーヒー", "ja", 1.0),
        ("ســـــــلام", "ar", 1.0),
        ("한국어 문장", "ko_KR", 1.0),
        ("हिन्दी में", "hi", 1.0),
        ("äöü ß é ñ", "de", 1.0),
        # Nothing is said of a language whose script is not known, nor of a few letters.
        ("whatever", "tlh", None),
        ("OK 3", "ru", None),
    ],
)
def test_the_script_is_that_of_the_language(text, language, share):
    assert measured(text, language)["script_share"] == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize(
    ("text", "language", "low", "high"),
    [
        ("thank you " * 12, "en", 0.85, 1.0),
        ("谢谢大家" * 8, "zh", 0.8, 1.0),
        (
            "she sells sea shells by the sea shore and the shells that she sells are sea shells",
            "en",
            0.0,
            0.3,
        ),
        ("the boy said to the girl that the dog of the man ran to the house of the boy", "en", 0.0, 0.1),
        ("上海是一个很大的城市我喜欢这个城市因为它很大", "zh", 0.0, 0.2),
    ],
)
def test_a_text_that_repeats_itself_is_told_from_one_that_repeats_words(text, language, low, high):
    assert low <= measured(text, language)["repeated_share"] <= high


def test_a_short_text_may_repeat_itself():
    assert measured("no no no no no")["repeated_share"] is None


def test_a_text_that_many_rows_have_is_counted_if_it_is_a_sentence():
    sentence = "Please subscribe to our channel."
    assert measured(sentence, copies=40)["text_occurrences"] == 40
    assert measured("zero", copies=40)["text_occurrences"] is None
    table = pl.DataFrame(
        {"text": [sentence, sentence.upper(), "Something else altogether."], "language": "en"}
    )
    assert text_measures(table)["text_occurrences"].to_list() == [2, 2, 1]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Damn it, damn!", 2),
        ("a damned dam", 0),
        ("the bad\n phrase, and BAD PHRASE", 2),
        ("我说脏话了", 1),
        ("c++ is fine", 1),
        ("nothing here", 0),
    ],
)
def test_unwanted_words_are_whole_words(text, count):
    unwanted = ("damn", "bad  phrase", "脏话", "c++")
    assert measured(text, unwanted=unwanted)["unwanted_words"] == count


@pytest.mark.parametrize(
    ("text", "word", "count"),
    [("यह गाना है", "गा", 0), ("तू गा", "गा", 1), ("le café", "cafe\u0301", 1), (r"a \ b", "\\", 1)],
)
def test_unwanted_words_of_any_script_and_spelling(text, word, count):
    assert measured(text, unwanted=(word,))["unwanted_words"] == count


def test_without_a_list_no_word_is_unwanted():
    assert measured("damn it")["unwanted_words"] is None


def test_a_batch_is_told_what_is_counted_over_the_whole_table():
    texts = ["a sentence that is a template", "one that stands here once only", "short"]
    table = pl.DataFrame({"text": texts, "language": ["en"] * 3})
    keys = text_keys(table.with_columns(text=pl.col("text").str.to_uppercase()))
    assert keys.null_count() == 1
    occurrences = pl.DataFrame({"key": keys[:1], "text_occurrences": [2_000]})
    assert text_measures(table, (), occurrences)["text_occurrences"].to_list() == [2_000, None, None]
