"""Replies are scored by words, without caps and without leaving silence out."""

from __future__ import annotations

import pytest

from training_jobs.scoring import ReplyScore, aggregate, normalise, score_reply


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop — TWENTY-one, please!", "dont stop twenty one please"),
        ("打开 灯。", "打 开 灯"),
        ("call 李雷 now", "call 李 雷 now"),
        ("\ufb01ve\u3000ｆｏｕｒ", "five four"),
        ("…", ""),
        ("", ""),
    ],
)
def test_normalisation_is_the_documented_one(text: str, words: str) -> None:
    assert normalise(text) == words


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("Turn on the light.", "turn on the light", ReplyScore(0, 4, 0, 14, True)),
        ("turn on the light", "turn the lights", ReplyScore(2, 4, 3, 14, False)),
        ("seven", "", ReplyScore(1, 1, 5, 5, False)),
        ("打开灯", "打关灯", ReplyScore(1, 3, 1, 3, False)),
        ("seven", "seven " * 5, ReplyScore(4, 1, 20, 5, False)),  # no cap: babble scores above 1
        ("…", "one", ReplyScore(1, 0, 3, 0, False)),
    ],
)
def test_errors_are_counted(reference: str, hypothesis: str, expected: ReplyScore) -> None:
    assert score_reply(reference, hypothesis) == expected


def test_a_slice_pools_its_rows_words_and_counts_silence_as_failure() -> None:
    score = aggregate([score_reply("one two three", "one two three"), score_reply("four", "")], no_reply=1)
    assert score is not None
    assert (score.rows, score.wer, score.exact_match, score.no_reply) == (2, 1 / 4, 1 / 2, 1)


def test_an_empty_slice_has_no_score_and_a_wordless_one_no_error_rate() -> None:
    assert aggregate([], no_reply=0) is None
    wordless = aggregate([score_reply("…", "")], no_reply=1)
    assert wordless is not None
    assert wordless.wer is None
    assert wordless.exact_match == 0.0
