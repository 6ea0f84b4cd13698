"""What profile and stages get wrong together is refused before any work starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models import SCHEDULES, extend_text_tokenizer, make_byte_tokenizer
from training_jobs import encode_prompt
from training_jobs.profile import Profile, load_profile
from training_jobs.run_check import (
    MODULES_TO_DECODE,
    SHORTEST_PROMPT,
    check_run,
    tokens_to_first_chunk,
)
from training_jobs.spec import STAGES, ProfileName, Stage, StageSpec, load_stage
from validation.errors import ConfigurationError


def specs_of(profile: ProfileName, stage: Stage | None = None, **changes: Any) -> list[StageSpec]:
    specs = [load_stage(name, profile) for name in STAGES]
    return [spec.model_copy(update=changes if spec.stage == stage else {}) for spec in specs]


def profile_with(**changes: dict[str, Any]) -> Profile:
    profile = load_profile("tiny")
    return profile.model_copy(
        update={name: getattr(profile, name).model_copy(update=values) for name, values in changes.items()}
    )


@pytest.mark.parametrize("name", ["tiny", "debug"])
def test_the_profiles_pass(name: ProfileName) -> None:
    check_run(load_profile(name), specs_of(name))


def test_7b_passes_with_the_published_models_positions_and_not_with_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXLINE_BASE_MODEL", str(tmp_path))
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"max_position_embeddings": 32768, "hidden_size": 3584}))
    check_run(load_profile("7b"), specs_of("7b"))
    with pytest.raises(ConfigurationError, match="hidden_size 3584; the profile is for 1536"):
        check_run(load_profile("1.5b"), specs_of("1.5b"))
    config.write_text(json.dumps({"max_position_embeddings": 16384, "hidden_size": 3584}))
    with pytest.raises(ConfigurationError, match="sequence_length 32768 is more than the base model's 16384"):
        check_run(load_profile("7b"), specs_of("7b"))
    config.write_text('{"hidden_size": 3584}')
    with pytest.raises(ConfigurationError, match=r"config.json: max_position_embeddings cannot be read"):
        check_run(load_profile("7b"), specs_of("7b"))


@pytest.mark.parametrize(
    ("stage", "changes", "said"),
    [
        (
            "sft",
            {"mctp_modules": 3},
            "sft: mctp_modules 3 is less than the 10 of multi_mctp.*the 10 MCTP steps",
        ),
        (
            "single_mctp",
            {"processes": 3},
            r"single_mctp: batch_rows 2 .* to processes 3 on 1 machines; possible are \[1, 2\] ranks",
        ),
        ("single_mctp", {"sequence_length": 4096}, "single_mctp: sequence_length 4096 .* 2048 positions"),
        (
            "multi_mctp",
            {"mixture": "speech"},
            r"multi_mctp: mixture 'speech' is not one of \['pretraining', 'sft'\]",
        ),
        ("sft", {"ratio": (96, 10)}, r"new_tokens 96 is less than the 105 after which ratio \[96, 10\]"),
    ],
)
def test_a_stage_that_does_not_fit_is_named(stage: Stage, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        check_run(load_profile("tiny"), specs_of("tiny", stage, **changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"benchmark": {"prompt_tokens": [21, 256]}}, "benchmark.prompt_tokens 21 is less than the 22"),
        (
            {"benchmark": {"new_tokens": 9}},
            r"benchmark.new_tokens 9 is less than the 10 after which ratio \[1, 10,",
        ),
        ({"benchmark": {"new_tokens": 2017}}, "prompt_tokens 32 and new_tokens 2017 .* 2048 positions"),
        ({"evaluation": {"max_new_tokens": 2048}}, "evaluation.max_new_tokens 2048 leaves no room"),
    ],
)
def test_a_benchmark_that_cannot_be_run_is_refused(changes: dict[str, dict[str, Any]], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        check_run(profile_with(**changes), specs_of("tiny"))


def test_the_limits_are_those_of_the_programs() -> None:
    """The check knows no torch, so it cannot ask the modules that decide these."""
    assert max(steps for schedule in SCHEDULES.values() for steps in schedule[1::2]) == MODULES_TO_DECODE
    tokenizer = extend_text_tokenizer(make_byte_tokenizer(), 8)
    prompt = encode_prompt([{"role": "user", "content": "<|audio|>"}], [[0]], tokenizer)
    assert len(prompt) == SHORTEST_PROMPT


@pytest.mark.parametrize(("ratio", "tokens"), [((1, 10, 4, 10), 10), ((1, 4, 3, 8, 4, 10), 15)])
def test_the_ratio_says_when_the_first_chunk_is_complete(ratio: tuple[int, ...], tokens: int) -> None:
    assert tokens_to_first_chunk(ratio) == tokens
