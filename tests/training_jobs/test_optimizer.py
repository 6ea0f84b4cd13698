"""What is trained, in which groups, at which learning rate."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from models import MctpConfig, MctpForCausalLM, mctp_parameter_names
from training_jobs.optimizer import learning_rate_factor, parameter_groups, set_learning_rate
from training_jobs.spec import STAGES, Stage, StageSpec, load_stage
from training_jobs.trainable import TrainableError, check_trainable, expected_trainable, set_trainable


def small_model(modules: int) -> MctpForCausalLM:
    config = MctpConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2 + modules,
        num_nextn_predict_layers=modules,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    return MctpForCausalLM(config)


def prepared(stage: Stage) -> tuple[MctpForCausalLM, StageSpec, set[str]]:
    spec = load_stage(stage, "tiny")
    model = small_model(spec.mctp_modules)
    names = [name for name, _ in model.named_parameters()]
    expected = expected_trainable(names, mctp_parameter_names(model), spec)
    set_trainable(model, expected)
    return model, spec, expected


def in_optimizer(model: MctpForCausalLM, spec: StageSpec) -> list[nn.Parameter]:
    groups = parameter_groups(model.named_parameters(), set(mctp_parameter_names(model)), spec)
    return [parameter for group in groups for parameter in group["params"]]


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_trains_exactly_what_its_spec_says(stage: Stage) -> None:
    model, _, expected = prepared(stage)
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == expected
    if stage in ("text_audio_alignment", "sft"):
        assert trained == {name for name, _ in model.named_parameters()}
    else:
        modules = model.config.num_nextn_predict_layers
        layers = tuple(f"model.layers.{2 + index}." for index in range(modules))
        assert all(name.startswith(("mtp_", *layers)) for name in trained)
        assert not {"lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"} & trained
    updated = in_optimizer(model, load_stage(stage, "tiny"))
    assert check_trainable(model, updated, expected) == sum(
        parameter.numel() for name, parameter in model.named_parameters() if name in trained
    )


def test_a_parameter_too_many_or_too_few_in_the_optimizer_is_named() -> None:
    model, spec, expected = prepared("single_mctp")
    updated = in_optimizer(model, spec)
    with pytest.raises(TrainableError, match=r"spec does not say so.*lm_head\.weight"):
        check_trainable(model, [*updated, model.lm_head.weight], expected)
    projection = model.mtp_projs[0].weight
    without = [parameter for parameter in updated if parameter is not projection]
    with pytest.raises(TrainableError, match=r"not in the optimizer.*mtp_projs.0.weight"):
        check_trainable(model, without, expected)
    projection.requires_grad_(False)
    with pytest.raises(TrainableError, match=r"but frozen.*mtp_projs.0.weight"):
        check_trainable(model, updated, expected)


def test_sft_gives_the_modules_their_own_rate_and_vectors_no_decay() -> None:
    model, spec, _ = prepared("sft")
    mctp = set(mctp_parameter_names(model))
    groups = parameter_groups(model.named_parameters(), mctp, spec)
    by_parameter = {id(parameter): group for group in groups for parameter in group["params"]}
    assert len(by_parameter) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        group = by_parameter[id(parameter)]
        factor = spec.mctp_learning_rate_factor if name in mctp else 1.0
        assert group["peak_lr"] == pytest.approx(spec.learning_rate * factor)
        assert group["weight_decay"] == (spec.weight_decay if parameter.ndim >= 2 else 0.0)
    assert set_learning_rate(groups, spec.steps - 1, spec) == pytest.approx(
        spec.learning_rate * spec.final_learning_rate_share
    )
    assert all(
        group["lr"] == pytest.approx(group["peak_lr"] * spec.final_learning_rate_share) for group in groups
    )


def test_the_rate_rises_for_the_warmup_share_and_falls_to_the_final_share() -> None:
    spec = load_stage("sft", "7b")
    factors = [learning_rate_factor(step, spec) for step in range(spec.steps)]
    peak = round(spec.steps * spec.warmup_share) - 1
    assert factors[0] == pytest.approx(1 / (peak + 1))
    assert factors[peak] == max(factors) == 1.0
    assert factors[:peak] == sorted(factors[:peak])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[-1] == pytest.approx(spec.final_learning_rate_share)


def test_a_stage_of_one_step_has_a_rate(tmp_path: Path) -> None:
    spec = load_stage("sft", "tiny").model_copy(update={"steps": 1})
    assert 0 < learning_rate_factor(0, spec) <= 1
