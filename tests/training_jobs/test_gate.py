"""A candidate becomes champion only where every check holds, with both numbers said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from training_jobs.comparison import Comparison, comparisons_markdown
from training_jobs.gate import Figures, GateDecision, decide_alone, judge, load_thresholds
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
    decision = decide_alone(GOOD, load_thresholds())
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
    decision = decide_alone(candidate, load_thresholds())
    assert not decision.passed
    assert any(line.startswith(f"failed: {reason}") for line in decision.reasons), decision.reasons


def _compared(name: str, difference: float, low: float, high: float, limit: float, **more: Any) -> Comparison:
    is_rate = name.endswith(("_wer", "_exact"))
    old = 0.5 if is_rate else 100.0
    return Comparison(
        name=name,
        kind="rate" if is_rate else "time" if name.endswith("_ms_p50") else "speed",
        candidate=old + difference if is_rate else old * (1 + difference),
        champion=old,
        difference=difference,
        low=low,
        high=high,
        limit=limit,
        more_is_worse=name.endswith(("_wer", "_ms_p50")),
        basis="20 of them",
        **more,
    )


@pytest.mark.parametrize(
    ("compared", "held"),
    [
        (_compared("boost/asr_known_wer", 0.03, -0.001, 0.06, 0.0), True),
        (_compared("boost/asr_known_wer", 0.03, 0.001, 0.06, 0.0), False),
        (_compared("boost/asr_known_wer", 0.03, 0.001, 0.06, 0.02), True),  # with slack
        (_compared("boost/asr_known_wer", -0.3, -0.4, -0.2, 0.0), True),
        (_compared("boost/sqa_exact", -0.03, -0.06, 0.001, -0.0), True),
        (_compared("boost/sqa_exact", -0.03, -0.06, -0.001, -0.0), False),
        (_compared("boost/sqa_exact", 0.3, 0.2, 0.4, -0.0), True),
        (_compared("boost/first_chunk_ms_p50", 0.08, 0.06, 0.10, 0.05), False),
        (_compared("boost/first_chunk_ms_p50", 0.04, 0.03, 0.049, 0.05), True),
        (_compared("boost/first_chunk_ms_p50", 0.06, 0.04, 0.08, 0.05, undecided=True), False),
        (_compared("boost/first_chunk_ms_p50", 0.045, 0.04, 0.08, 0.05, undecided=True), True),
        (_compared("boost/tokens_per_second_p50", -0.08, -0.10, -0.06, -0.05), False),
        (_compared("boost/tokens_per_second_p50", -0.06, -0.08, -0.04, -0.05, undecided=True), False),
        (_compared("boost/tokens_per_second_p50", 0.5, 0.4, 0.6, -0.05), True),
        (_compared("boost/asr_known_wer", 0.0, math.nan, math.nan, 0.0), False),
    ],
)
def test_a_figure_fails_where_all_of_its_interval_is_on_the_worse_side_of_the_limit(
    compared: Comparison, held: bool
) -> None:
    decision = GateDecision()
    judge(decision, [compared])
    assert decision.passed is held
    assert compared.record()["held"] is held


def test_the_rule_is_said_with_all_its_numbers() -> None:
    rate = _compared("boost/asr_known_wer", 0.03, 0.001, 0.06, 0.0)
    assert rate.words() == (
        "boost/asr_known_wer 0.5300, champion 0.5000: difference +0.0300, 95 % interval +0.0010 to +0.0600 "
        "(20 of them); it fails where all of the interval is above +0.0000"
    )
    speed = _compared("boost/tokens_per_second_p50", -0.06, -0.08, -0.04, -0.05, undecided=True)
    assert speed.words() == (
        "boost/tokens_per_second_p50 94.00, champion 100.00: difference -6.0%, 95 % interval -8.0% to -4.0% "
        "(20 of them); the interval still holds the limit, so the difference decides: it fails below -5.0%"
    )
    table = comparisons_markdown([rate, speed])
    assert "| +0.0010 to +0.0600 | ≤ +0.0000 | 20 of them | **failed** |" in table


def test_thresholds_refuse_unknown_keys_and_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text("greatest_wer: 3\n")
    with pytest.raises(
        ConfigurationError, match=r"gate\.yaml.*greatest_wer: Extra inputs are not permitted \(got 3\)"
    ):
        load_thresholds(path)


def test_fewer_turns_at_most_than_at_first_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    given = load_thresholds().model_dump() | {"timing_repeats": 30, "most_timing_repeats": 20}
    path.write_text("".join(f"{key}: {value}\n" for key, value in given.items()))
    with pytest.raises(ConfigurationError, match="most_timing_repeats is 20, less than the 30"):
        load_thresholds(path)
