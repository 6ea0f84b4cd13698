"""VITA-Audio's own rules flatter, and stay beside our figures."""

from __future__ import annotations

from training_jobs.evaluation_figures import overall
from training_jobs.evaluation_rows import EvaluationRow
from training_jobs.evaluation_tables import row_table
from training_jobs.evaluation_worker import Answer
from training_jobs.listened import Listened
from training_jobs.reference_rules import contains, reference_rules


def _row(task: str, reference: str, language: str = "en") -> EvaluationRow:
    return EvaluationRow(task, "c", language, "ann", task, "unseen", [], [], reference)  # type: ignore[arg-type]


def _answer(row: EvaluationRow, said: str | None, **more: object) -> Answer:
    fields = {"new_tokens": 4, "audio_tokens": 0, "ended": True, "seconds": 0.1, **more}
    return Answer("c", row.row_id, row.task, "boost", said, **fields)  # type: ignore[arg-type]


def test_a_reply_is_cut_by_the_references_length_there_and_not_in_our_figures() -> None:
    row = _row("asr", "light on")
    babble = _answer(row, "light on " * 20, capped="light on", new_tokens=180)
    found = reference_rules([row], [babble], {})
    assert found["overall"]["boost"] == {"asr_wer": 0.0, "asr_replies_cut": 1, "silent_replies_left_out": 0}
    assert overall(row_table([row], [babble]))["boost"]["asr_unseen_wer"] == 19.0


def test_punctuation_counts_in_english_and_not_in_chinese() -> None:
    english, chinese = _row("asr", "Light on."), _row("asr", "打开灯。", "zh")
    found = reference_rules([english], [_answer(english, "", capped="light on")], {})
    assert found["overall"]["boost"]["asr_wer"] == 0.5
    found = reference_rules([chinese], [_answer(chinese, "", capped="打关灯")], {})
    assert found["overall"]["boost"]["asr_wer"] == round(1 / 3, 6)


def test_silent_replies_are_left_out_there_and_failures_here() -> None:
    text, question = _row("tts", "light on"), _row("sqa", "light on")
    silent = [_answer(text, None), _answer(question, "no")]
    assert reference_rules([text, question], silent, {})["overall"]["boost"] == {
        "asr_replies_cut": 0,
        "silent_replies_left_out": 2,
    }
    ours = overall(row_table([text, question], silent))["boost"]
    assert (ours["tts_wer"], ours["sqa_contains"], ours["sqa_spoken_contains"]) == (1.0, 0.0, 0.0)


def test_the_asr_model_is_heard_where_it_listens() -> None:
    text = _row("tts", "light on")
    spoken = _answer(text, "light on", audio_tokens=5)
    assert reference_rules([text], [spoken], {})["overall"]["boost"]["tts_wer"] == 0.0
    found = reference_rules([text], [spoken], {("c", "tts", "tts", "boost"): Listened("night on")})
    assert found["overall"]["boost"]["tts_wer"] == 0.5
    assert found["listener"] == "the ASR model"


def test_an_answers_parts_are_found_in_the_middle_of_words_too() -> None:
    assert contains(_row("sqa", "Red Light!"), "the lightning is reddish")
    assert contains(_row("sqa", "twenty one"), "There are 21.")
    assert not contains(_row("sqa", "green"), "the light is red")
