"""Replies are scored by words, without caps and without leaving silence out."""

from __future__ import annotations

import pytest

from training_jobs.scoring import ReplyScore, aggregate, has_words, holds_answer, score_reply


@pytest.mark.parametrize(
    ("reference", "hypothesis", "language", "expected"),
    [
        ("Turn on the light.", "turn on the light", "en", ReplyScore(0, 4, 0, 14, True)),
        ("turn on the light", "turn the lights", "en", ReplyScore(2, 4, 3, 14, False)),
        ("seven", "", "en", ReplyScore(1, 1, 1, 1, False)),
        (
            "seven colours",
            "7 colors",
            "en",
            ReplyScore(0, 2, 0, 7, True),
        ),  # as Whisper's English normaliser has it
        ("打开灯", "打关灯", "zh", ReplyScore(1, 3, 1, 3, False)),
        ("打开 灯。", "打开灯", "zh-CN", ReplyScore(0, 3, 0, 3, True)),
        ("打开灯", "打关灯 打开", "zh", ReplyScore(3, 3, 3, 3, False)),
        ("sept jours", "sept", "fr", ReplyScore(1, 2, 5, 9, False)),
        ("light", "light " * 5, "en", ReplyScore(4, 1, 20, 5, False)),  # no cap: babble scores above 1
        ("…", "light", "en", ReplyScore(1, 0, 5, 0, False)),
    ],
)
def test_errors_are_counted(reference: str, hypothesis: str, language: str, expected: ReplyScore) -> None:
    assert score_reply(reference, hypothesis, language) == expected


@pytest.mark.parametrize("reply", ["", "…", "Um, hmm."])
def test_a_reply_of_which_nothing_is_left_has_all_words_wrong(reply: str) -> None:
    assert score_reply("turn on the light", reply, "en") == ReplyScore(4, 4, 14, 14, False)
    assert not has_words("turn on the light", reply, "en")


def test_a_reply_cannot_hide_words_in_brackets() -> None:
    assert score_reply("turn on the light", "turn on the light (or was it off?)", "en").word_errors == 4
    assert score_reply("turn on the light", "<turn> on the [light]", "en").exact


def test_any_accepted_answer_is_right_but_errors_are_those_of_the_reference() -> None:
    score = score_reply("the United Kingdom", "great britain", "en", answers=["Britain", "Great Britain"])
    assert score.exact
    assert score.word_errors == 3


@pytest.mark.parametrize(
    ("answers", "said", "language", "held"),
    [
        (["Paris"], "The capital is Paris, of course.", "en", True),
        (["Lutetia", "Paris"], "it is paris", "en", True),
        (["twenty one"], "There are 21.", "en", True),
        (["one"], "Someone did.", "en", False),  # whole words only
        (["red light"], "the light is red", "en", False),  # in their order
        (["北京"], "首都是北京。", "zh", True),
        (["Paris"], "", "en", False),
        (["…"], "anything", "en", False),
        ([], "anything", "en", False),
    ],
)
def test_an_answer_is_held_where_it_is_said_word_for_word(
    answers: list[str], said: str, language: str, held: bool
) -> None:
    assert holds_answer(answers, said, language) is held


def test_a_slice_pools_its_rows_words_and_counts_silence_as_failure() -> None:
    score = aggregate([score_reply("turn it on", "turn it on"), score_reply("light", "")], no_reply=1)
    assert score is not None
    assert (score.rows, score.wer, score.exact_match, score.no_reply) == (2, 1 / 4, 1 / 2, 1)


def test_an_empty_slice_has_no_score_and_a_wordless_one_no_error_rate() -> None:
    assert aggregate([], no_reply=0) is None
    wordless = aggregate([score_reply("…", "")], no_reply=1)
    assert wordless is not None
    assert wordless.wer is None
    assert wordless.exact_match == 0.0
