"""A candidate becomes champion only where every check holds, with both numbers said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from training_jobs.gate import Figures, decide, load_thresholds
from validation.errors import ConfigurationError

GOOD = Figures(
    scores={"asr_known_wer": 0.10, "asr_known_exact": 0.80, "sqa_exact": 0.70},
    vanilla_scores={"asr_known_wer": 0.08, "asr_known_exact": 0.82},
    tokens_per_second={"vanilla": 100.0, "boost": 250.0},
    first_chunk_ms=20.0,
    hardware="a" * 64,
    held_out="c" * 64,
)


def _with_scores(**scores: float) -> Figures:
    return replace(GOOD, scores={**GOOD.scores, **scores})


def test_a_good_model_without_a_champion_passes_and_says_by_what() -> None:
    decision = decide(GOOD, None, load_thresholds())
    assert decision.passed
    assert "held: asr_known_wer 0.1000 is at most 0.5000" in decision.reasons


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (_with_scores(asr_known_wer=0.61), "asr_known_wer 0.6100 is at most 0.5000"),
        (_with_scores(asr_known_wer=0.25), "asr_known_wer 0.2500 is within 0.1000 of Vanilla's 0.0800"),
        (_with_scores(sqa_exact=math.nan), "boost sqa_exact is nan"),
        (replace(GOOD, scores={}), "0 figures of held-out rows"),
        (replace(GOOD, scores={"sqa_exact": 0.9}), "no held-out utterance was transcribed"),
        (
            replace(GOOD, scores={"asr_unseen_wer": 1.3}, vanilla_scores={"asr_unseen_wer": 1.3}),
            "asr_unseen_wer 1.3000 is at most 0.5000",
        ),
        (
            replace(GOOD, tokens_per_second={"vanilla": 100.0, "boost": 99.0}),
            "Boost's 99.0 tokens per second",
        ),
        (replace(GOOD, first_chunk_ms=math.inf), "first chunk is inf"),
    ],
)
def test_a_model_that_is_no_good_by_itself_fails(candidate: Figures, reason: str) -> None:
    decision = decide(candidate, None, load_thresholds())
    assert not decision.passed
    assert any(line.startswith(f"failed: {reason}") for line in decision.reasons), decision.reasons


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (_with_scores(asr_known_wer=0.13), "asr_known_wer 0.1300 is at most 0.1200 (champion 0.1000)"),
        (_with_scores(sqa_exact=0.60), "sqa_exact 0.6000 is at least 0.6800 (champion 0.7000)"),
        (
            replace(GOOD, first_chunk_ms=22.0),
            "first chunk after 22.00 ms is at most 21.00 ms (champion 20.00 ms)",
        ),
        (
            replace(GOOD, tokens_per_second={"vanilla": 100.0, "boost": 230.0}),
            "230.0 tokens per second are at least 237.5 (champion 250.0)",
        ),
    ],
)
def test_a_step_back_from_the_champion_fails_with_both_numbers(candidate: Figures, reason: str) -> None:
    assert decide(candidate, GOOD, load_thresholds()).failed == [reason]


def test_noise_within_the_tolerances_passes() -> None:
    worse = replace(
        _with_scores(asr_known_wer=0.115, sqa_exact=0.69),
        first_chunk_ms=20.9,
        tokens_per_second={"vanilla": 100.0, "boost": 240.0},
    )
    assert decide(worse, GOOD, load_thresholds()).passed


def test_latency_on_other_hardware_is_not_compared_and_that_is_said() -> None:
    slow = replace(GOOD, first_chunk_ms=500.0, hardware="b" * 64)
    decision = decide(slow, GOOD, load_thresholds())
    assert decision.passed
    assert any("other hardware (aaaaaaaaaaaa)" in line for line in decision.skipped)


def test_scores_on_other_held_out_rows_are_compared_and_that_is_said() -> None:
    decision = decide(replace(GOOD, held_out="d" * 64), GOOD, load_thresholds())
    assert decision.passed
    assert decision.reasons[-1] == "note: the champion was scored on other held-out rows than the candidate"


def test_a_figure_that_only_one_of_the_two_has_is_not_compared_and_that_is_said() -> None:
    decision = decide(_with_scores(tts_wer=0.4), GOOD, load_thresholds())
    assert decision.passed
    assert decision.skipped == ["tts_wer: the champion has none"]


def test_thresholds_refuse_unknown_keys_and_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text("greatest_wer: 3\n")
    with pytest.raises(
        ConfigurationError, match=r"gate\.yaml.*greatest_wer: Extra inputs are not permitted \(got 3\)"
    ):
        load_thresholds(path)
