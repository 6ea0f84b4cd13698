"""What the ranks compute with, and what is refused before they join."""

from __future__ import annotations

import pytest
import torch

from training_jobs.deepspeed_config import deepspeed_config
from training_jobs.distributed import World, joined
from training_jobs.spec import load_stage
from validation.errors import ConfigurationError

SPEC = load_stage("sft", "tiny")


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As far as torch is asked, a machine with two old GPUs."""
    answers = {
        "is_available": lambda: True,
        "device_count": lambda: 2,
        "set_device": lambda device: None,
        "get_device_name": lambda device: "Old GPU",
        "is_bf16_supported": lambda including_emulation: including_emulation,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")


def test_a_program_started_without_ranks_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with (
        pytest.raises(ConfigurationError, match=r"'RANK'.*not set: start this program through torchrun"),
        joined(SPEC, 60.0),
    ):
        pass


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("precision", ["auto", "bfloat16"])
def test_a_gpu_without_bfloat16_is_refused(precision: str) -> None:
    spec = SPEC.model_copy(update={"precision": precision})
    with (
        pytest.raises(ConfigurationError, match=r"sft: precision .* Old GPU does not have"),
        joined(spec, 60.0),
    ):
        pass


@pytest.mark.usefixtures("two_gpus")
def test_more_ranks_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")
    spec = SPEC.model_copy(update={"processes": 3})
    with (
        pytest.raises(ConfigurationError, match="sft: processes is 3, but this machine has 2 GPUs"),
        joined(spec, 60.0),
    ):
        pass


@pytest.mark.parametrize(("device", "overlaps"), [("cuda", True), ("cpu", False)])
@pytest.mark.parametrize("is_bfloat16", [False, True])
def test_communication_overlaps_where_there_is_a_gpu_whatever_the_precision(
    device: str, overlaps: bool, is_bfloat16: bool
) -> None:
    config = deepspeed_config(SPEC, World(0, 2, torch.device(device), is_bfloat16))
    assert config["zero_optimization"]["overlap_comm"] is overlaps
    assert config["bf16"]["enabled"] is is_bfloat16
    assert config["train_batch_size"] == SPEC.micro_batch * SPEC.gradient_accumulation * 2
