"""Under every ZeRO stage a step changes exactly what its stage trains, and the same losses and weights come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from stage_runs import LENGTH, SPEC, Lines, losses, make_job, result, weights

from models import extend_model, mctp_parameter_names
from training_jobs import train
from training_jobs.jobs import Tracking
from training_jobs.reporting import Reporter
from training_jobs.spec import Stage, StageSpec, load_stage
from training_jobs.trainable import expected_trainable


def trained(output: Path, start: Path, packs: Path, tracking: Tracking, spec: StageSpec) -> Path:
    train.run(make_job(output, start, packs, tracking, spec), Reporter(Lines().log))
    return output


@pytest.mark.usefixtures("one_rank")
@pytest.mark.parametrize(
    ("stage", "zero_stage"),
    [
        ("text_audio_alignment", 2),
        ("text_audio_alignment", 3),
        ("single_mctp", 1),
        ("single_mctp", 3),
        ("multi_mctp", 2),
        ("sft", 3),
    ],
)
def test_one_step_changes_exactly_the_intended_set(
    tmp_path: Path, base_dir: Path, packs_dir: Path, tracking: Tracking, stage: Stage, zero_stage: int
) -> None:
    published = load_stage(stage, "tiny")
    modules = min(3, published.mctp_modules)
    changes = {"steps": 1, "checkpoints": 1, "sequence_length": LENGTH, "mctp_modules": modules}
    spec = published.model_copy(update=changes | {"zero_stage": zero_stage})
    start = extend_model(base_dir, modules, seed=spec.seed)
    before = {name: value.detach().clone() for name, value in start.named_parameters()}
    expected = expected_trainable(before, mctp_parameter_names(start), spec)
    after = weights(trained(tmp_path, base_dir, packs_dir, tracking, spec))
    assert after.keys() == before.keys()
    assert {name for name, value in before.items() if not torch.equal(value, after[name])} == expected
    listed = (tmp_path / "trainable.txt").read_text().splitlines()
    assert listed == [f"{name} {list(value.shape)}" for name, value in before.items() if name in expected]
    assert result(tmp_path)["trainable_parameters"] == sum(before[name].numel() for name in expected)


@pytest.mark.usefixtures("one_rank")
def test_every_zero_stage_and_offloading_come_to_the_same_losses_and_weights(
    tmp_path: Path, base_dir: Path, packs_dir: Path, tracking: Tracking
) -> None:
    def outcome(name: str, **changes: Any) -> tuple[list[float], dict[str, torch.Tensor]]:
        spec = SPEC.model_copy(update={"steps": 4, "checkpoints": 1} | changes)
        output = trained(tmp_path / name, base_dir, packs_dir, tracking, spec)
        return losses(output), weights(output)

    usual_losses, usual = outcome("usual")
    for name, changes in {
        "one": {"zero_stage": 1},
        "three": {"zero_stage": 3},
        "optimizer": {"zero_stage": 2, "offload": "optimizer"},
        "weights": {"zero_stage": 3, "offload": "weights"},
    }.items():
        other_losses, other = outcome(name, **changes)
        assert other_losses == pytest.approx(usual_losses, abs=1e-5), name
        assert other.keys() == usual.keys(), name
        torch.testing.assert_close(other, usual, rtol=0, atol=1e-5, msg=name)


@pytest.mark.usefixtures("one_rank")
@pytest.mark.parametrize("zero_stage", [1, 2, 3])
def test_bfloat16_trains_as_float32_does_but_for_its_rounding(
    tmp_path: Path, base_dir: Path, packs_dir: Path, tracking: Tracking, zero_stage: int
) -> None:
    changes = {"steps": 3, "checkpoints": 1, "batch_rows": 4, "zero_stage": zero_stage}
    spec = SPEC.model_copy(update=changes | {"precision": "float32"})
    exact = losses(trained(tmp_path / "exact", base_dir, packs_dir, tracking, spec))
    spec = spec.model_copy(update={"precision": "bfloat16"})
    rounded = losses(trained(tmp_path / "rounded", base_dir, packs_dir, tracking, spec))
    assert rounded == pytest.approx(exact, rel=2e-2)
    assert rounded[-1] < rounded[0]
