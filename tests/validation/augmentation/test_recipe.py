"""A recipe that cannot be followed is refused, with what is allowed."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from validation.augmentation.recipe import Recipe
from validation.strict import explain


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"speeed": {"factors": [1.1]}}, "unknown key 'speeed'; allowed are copies, tasks, seed, speed,"),
        ({"gain": {"range": [1, 2]}}, "gain: unknown key 'range'; allowed are probability, db"),
        ({"copies": -1}, "copies: .* greater than or equal to 0"),
        ({"copies": 21}, "copies: .* less than or equal to 20"),
        ({"gain": None}, r"copies: 1 copies of nothing but the original; give one of speed, pitch"),
        ({"gain": {"db": [3, -3]}}, r"gain.db: the range \[3, -3\] is empty"),
        ({"gain": {"db": [0, 0]}}, r"gain.db: the range \[0, 0\] changes nothing"),
        ({"gain": {"db": [-50, 0]}}, r"beyond what is allowed, -40 to 40 dB"),
        ({"gain": {"db": [0, float("inf")]}}, "finite"),
        ({"gain": {"db": [1, 2], "probability": 0}}, "gain.probability: .* greater than 0"),
        ({"gain": {"db": [1, 2], "probability": 1.5}}, "gain.probability: .* less than or equal to 1"),
        ({"noise": {"corpus": "n", "snr_db": [70, 80]}}, "beyond what is allowed, -10 to 60 dB"),
        ({"noise": {"snr_db": [5, 20]}}, "noise.corpus: Field required"),
        ({"speed": {"factors": []}}, "speed.factors: .* at least 1 item"),
        ({"speed": {"factors": [1.0]}}, "the factor 1.0 alone changes nothing"),
        ({"speed": {"factors": [0.9, 0.9]}}, "names a factor twice"),
        ({"speed": {"factors": [3.0]}}, "speed.factors.0: .* less than or equal to 2"),
        ({"band": {"kinds": ["fm"]}}, "'telephone' or 'low_pass'"),
        ({"band": {"kinds": ["telephone", "telephone"]}}, "names a kind twice"),
        ({"band": {"kinds": ["low_pass"], "low_pass_hz": [100, 200]}}, "500 to 7500 Hz"),
        (
            {"band": {"kinds": ["telephone"], "low_pass_hz": [3000, 4000]}},
            "no effect without the kind low_pass",
        ),
        ({"pitch": {"semitones": [-24, 0]}}, "-12 to 12 semitones"),
        ({"formant": {"semitones": [-8, 0]}}, "-6 to 6 semitones"),
        ({"tasks": []}, "tasks: .* at least 1 item"),
        ({"tasks": ["text"]}, "'asr', 'conversation' or 'tts'"),
        ({"tasks": ["asr", "asr"]}, "names a task twice"),
        (
            {"tasks": ["asr", "tts"], "gain": None, "pitch": {"semitones": [1, 2]}},
            "which only speed and gain change: give one of these, or leave tts out",
        ),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Recipe.model_validate({"copies": 1, "gain": {"db": [-6, 6]}, **changes})
    assert re.search(message, explain(raised.value)), explain(raised.value)


def test_none_is_a_recipe_too() -> None:
    assert not Recipe(copies=0).transforms
    assert Recipe.model_validate({"copies": 0, "gain": {"db": [-6, 6]}}).copies == 0
