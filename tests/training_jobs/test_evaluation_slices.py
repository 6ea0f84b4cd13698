"""Figures with their intervals, over all rows and by slice."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest

from training_jobs.bootstrap import rate_interval
from training_jobs.evaluation_figures import differences, intervals, overall
from training_jobs.evaluation_rows import EvaluationRow
from training_jobs.evaluation_slices import shortened, slice_table, slices_markdown
from training_jobs.evaluation_tables import row_table, score_table, scores_markdown
from training_jobs.evaluation_worker import Answer
from training_jobs.listened import Listened

WORDS = "the light is on"
MODES = ("vanilla", "boost")


def _asr(
    number: int, speaker: str, seconds: float, snr_db: float | None, language: str = "en"
) -> EvaluationRow:
    return EvaluationRow(
        f"r{number}",
        "rooms",
        language,
        speaker,
        "asr",
        "unseen",
        [],
        [[]],
        WORDS,
        seconds=seconds,
        snr_db=snr_db,
    )


def _answer(row: EvaluationRow, mode: str, said: str | None, **more: object) -> Answer:
    fields = {"new_tokens": 4, "audio_tokens": 0, "ended": True, "seconds": 0.1, **more}
    return Answer(row.corpus, row.row_id, row.task, mode, said, **fields)  # type: ignore[arg-type]


def _table(rows: Sequence[EvaluationRow], wrong_in_boost: Sequence[str]) -> pl.DataFrame:
    answers = [
        _answer(row, mode, "the night is on" if mode == "boost" and row.row_id in wrong_in_boost else WORDS)
        for row in rows
        for mode in MODES
    ]
    return row_table(rows, answers)


def test_each_slice_has_its_rows_figure_and_interval() -> None:
    rows = [_asr(n, f"s{n % 6}", 0.5 if n < 4 else 3.0, 25.0 if n % 2 else None) for n in range(12)]
    table = slice_table(_table(rows, ["r0", "r1", "r6"]), seed=1)
    wer = {
        (one["by"], one["value"]): one
        for one in table.filter(mode="boost", figure="wer").iter_rows(named=True)
    }
    assert [value for by, value in wer if by == "duration"] == ["below 1 s", "2 to 5 s"]
    assert [value for by, value in wer if by == "snr"] == ["20 to 30 dB", "not measured"]
    assert wer["language", "en"]["rows"] == 12
    assert wer["language", "en"]["speakers"] == 6
    assert wer["language", "en"]["rate"] == 3 / 48
    assert wer["duration", "below 1 s"]["rate"] == 2 / 16
    assert wer["speaker", "rooms / s0"]["rate"] == 2 / 8
    speakers = [row.speaker for row in rows]
    errors = [1 if row.row_id in ("r0", "r1", "r6") else 0 for row in rows]
    # The table is sorted by row id, and so is what is drawn from.
    order = sorted(range(12), key=lambda number: f"r{number}")
    expected = rate_interval([errors[n] for n in order], [4] * 12, 1, groups=[speakers[n] for n in order])
    assert wer["language", "en"]["rate_low"] == expected.low
    assert wer["language", "en"]["rate_high"] == expected.high
    shown = slices_markdown(table, MODES)
    assert "| asr | duration | below 1 s | 4 | 4 | wer | 0.0% [0.0, 0.0] | 12.5% [" in shown


def test_boost_is_compared_with_vanilla_on_the_same_rows() -> None:
    rows = [_asr(n, "unknown", 1.0, None) for n in range(20)]
    table = _table(rows, [f"r{n}" for n in range(10)])
    assert overall(table)["boost"]["asr_unseen_wer"] == 0.125
    low, high = intervals(table, seed=0)["boost"]["asr_unseen_wer"]
    assert 0 < low < 0.125 < high < 0.25
    assert intervals(table, seed=0)["vanilla"]["asr_unseen_wer"] == [0.0, 0.0]
    found = differences(table, "boost", "vanilla", seed=0)
    assert found["asr_unseen_wer"] == {
        "value": 0.125,
        "low": low,
        "high": high,
    }  # Vanilla is right throughout
    assert found["asr_unseen_exact"]["value"] == -0.5
    assert found["asr_unseen_exact"]["high"] < 0
    assert "12.5% [" in scores_markdown(score_table(table), MODES)


def test_of_many_speakers_the_worst_are_shown_and_the_rest_counted() -> None:
    rows = [_asr(n, f"s{n:02}", 1.0, None) for n in range(60)]
    table = slice_table(_table(rows, ["r7", "r9"]), seed=0)
    kept, left_out = shortened(table)
    speakers = {one["value"] for one in kept if one["by"] == "speaker"}
    assert left_out == 10
    assert len(speakers) == 50
    assert {"rooms / s07", "rooms / s09"} <= speakers
    shown = slices_markdown(table, MODES)
    assert shown.count("| asr | speaker | rooms / s07") == 2  # word error rate and exact match
    assert "50 more speakers did better" in shown


@pytest.mark.parametrize("wants_speech", [True, False])
def test_a_silent_answer_is_a_wrong_one_aloud_where_speech_is_wanted(wants_speech: bool) -> None:
    row = EvaluationRow(
        "q",
        "quiz",
        "en",
        "ann",
        "sqa",
        "known",
        [],
        [[]],
        "It is Paris.",
        ("Paris",),
        wants_speech=wants_speech,
    )
    spoken = _answer(row, "vanilla", "paris is it", audio_tokens=9, read_back="paris", spoken=(1,))
    silent = _answer(row, "boost", "I think it is Paris")
    heard = {
        ("quiz", "q", "sqa", mode): Listened(heard=text)
        for mode, text in (("vanilla", "Paris!"), ("boost", ""))
    }
    found = overall(row_table([row], [spoken, silent], heard))
    assert found["vanilla"] == {
        "sqa_exact": 0.0,
        "sqa_contains": 1.0,
        "sqa_spoken_contains": 1.0,
        "sqa_heard_contains": 1.0,
    }
    aloud = {"sqa_spoken_contains": 0.0, "sqa_heard_contains": 0.0} if wants_speech else {}
    assert found["boost"] == {"sqa_exact": 0.0, "sqa_contains": 1.0, **aloud}


def test_what_another_listener_heard_of_a_text_read_aloud_is_a_figure_of_its_own() -> None:
    row = EvaluationRow("t", "texts", "en", "ann", "tts", "known", [], [], WORDS)
    answers = [
        _answer(row, "vanilla", WORDS, audio_tokens=9, spoken=(1,)),
        _answer(row, "boost", None),
    ]
    heard = {
        ("texts", "t", "tts", "vanilla"): Listened("the light is of", mos=3.2),
        ("texts", "t", "tts", "boost"): Listened("", mos=1.0),
    }
    found = overall(row_table([row], answers, heard))
    assert found["vanilla"] == {"tts_wer": 0.0, "tts_exact": 1.0, "tts_heard_wer": 0.25, "tts_mos": 3.2}
    assert found["boost"] == {"tts_wer": 1.0, "tts_exact": 0.0, "tts_heard_wer": 1.0, "tts_mos": 1.0}
