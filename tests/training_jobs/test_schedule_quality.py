"""Each schedule stands beside Vanilla on the same rows."""

from __future__ import annotations

import polars as pl
import pytest

from training_jobs.evaluation_rows import EvaluationRow, EvaluationTask
from training_jobs.evaluation_tables import row_table
from training_jobs.evaluation_worker import Answer
from training_jobs.schedule_quality import schedule_table, schedules_markdown
from training_jobs.spec import Mode

ROWS = 8


def _row(number: int, task: EvaluationTask) -> EvaluationRow:
    return EvaluationRow(
        row_id=f"r{number}",
        corpus="words",
        language="en",
        speaker=f"s{number}",
        task=task,
        speaker_group="known",
        messages=[],
        audio_tokens=[],
        reference="a red dog runs",
    )


def _answer(number: int, task: EvaluationTask, mode: Mode, said: str | None) -> Answer:
    return Answer("words", f"r{number}", task, mode, said, 10, 0, True, 0.5)


def _table(wrong_in_boost: int) -> pl.DataFrame:
    answers = []
    for number in range(ROWS):
        boost = "a red dog" if number < wrong_in_boost else "a red dog runs"
        answers += [
            _answer(number, "asr", "boost", boost),
            _answer(number, "asr", "vanilla", "a red dog runs"),
            _answer(number, "tts", "vanilla", None),
            _answer(number, "tts", "boost", None),
        ]
    rows = [_row(number, task) for number in range(ROWS) for task in ("asr", "tts")]
    return row_table(rows, answers)


def test_damage_of_a_schedule_is_shown_with_its_interval() -> None:
    found = {(one["task"], one["mode"]): one for one in schedule_table(_table(2), seed=0).to_dicts()}
    assert list(found) == [("asr", "vanilla"), ("asr", "boost"), ("tts", "vanilla"), ("tts", "boost")]
    boost, vanilla = found["asr", "boost"], found["asr", "vanilla"]
    assert (vanilla["wer"], vanilla["exact"], vanilla["rows"]) == (0.0, 1.0, ROWS)
    assert vanilla["wer_minus_vanilla"] is None and vanilla["same_as_vanilla"] is None
    assert boost["wer"] == boost["wer_minus_vanilla"] == pytest.approx(2 / 32)
    assert boost["wer_minus_vanilla_low"] < boost["wer"] < boost["wer_minus_vanilla_high"]
    assert boost["exact_minus_vanilla"] == pytest.approx(-0.25)
    assert boost["same_as_vanilla"] == pytest.approx(0.75)
    assert boost["tokens_per_second"] == pytest.approx(20)
    silent = found["tts", "boost"]
    assert (silent["wer"], silent["wer_minus_vanilla"], silent["same_as_vanilla"]) == (1.0, 0.0, 1.0)
    assert silent["tokens_per_second"] is None
    text = schedules_markdown(schedule_table(_table(2), seed=0))
    assert "| asr | boost | 8 | 6.2% | +6.2 [" in text and "| 75.0% | -25.0 [" in text


def test_schedules_without_vanilla_are_refused() -> None:
    with pytest.raises(ValueError, match=r"compared to vanilla, but rows were scored in \['boost'\]"):
        schedule_table(_table(0).filter(mode="boost"), seed=0)
