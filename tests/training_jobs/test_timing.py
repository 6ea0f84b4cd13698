"""Models are timed side by side, on one and the same work."""

from __future__ import annotations

from typing import Any

import pytest

from models import SCHEDULES
from models.errors import ModelError
from training_jobs import timing
from training_jobs.dialogue import SpeechModel
from training_jobs.latency import Timing

PROMPTS = [[1, 2, 3], [4, 5, 6, 7]]


def test_every_model_and_mode_decodes_the_prompts_in_turn(trained: Any) -> None:
    model = SpeechModel.load(trained.model_dir)
    other = [list(reversed(prompt)) for prompt in PROMPTS]
    found = timing.time_models(
        {"new": model, "old": model},
        {"new": PROMPTS, "old": other},
        ["vanilla", "turbo"],
        new_tokens=12,
        warmup=1,
        repeats=2,
        device="cpu",
    )
    assert {name: list(by_mode) for name, by_mode in found.items()} == {
        name: ["vanilla", "turbo"] for name in ("new", "old")
    }
    for name, prompts in (("new", PROMPTS), ("old", other)):
        for mode, timings in found[name].items():
            # The warm-up had the first prompt.
            expected = [model.engine.generate(prompts[at], SCHEDULES[mode], 12) for at in (1, 0)]
            assert [run.token_ids for run in timings] == expected
            assert all(run.arrivals_s == sorted(run.arrivals_s) and run.arrivals_s[0] > 0 for run in timings)


def test_no_model_always_goes_first(trained: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[int] = []

    def watched(begin: Any, synchronise: Any) -> Timing:
        prompt, _schedule, _new_tokens = begin.args[-3:]
        began.append(len(prompt))
        return real(begin, synchronise)

    real = timing.time_stream
    monkeypatch.setattr(timing, "time_stream", watched)
    model = SpeechModel.load(trained.model_dir)
    models = {"new": model, "old": model}
    prompts = {"new": [[1]], "old": [[1, 2]]}
    timing.time_models(models, prompts, ["boost"], new_tokens=2, warmup=1, repeats=3, device="cpu")
    assert began == [1, 2, 2, 1, 1, 2, 2, 1]


def test_a_mode_that_the_model_cannot_decode_is_an_error(trained: Any) -> None:
    model = SpeechModel.load(trained.model_dir)
    with pytest.raises(ModelError, match="a prompt of 3 tokens and 510 new ones exceed the model's 512"):
        timing.time_models({"a": model}, {"a": [[1, 2, 3]]}, ["turbo"], 510, 0, 1, "cpu")
