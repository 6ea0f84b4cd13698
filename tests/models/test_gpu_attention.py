"""The kernels that only a GPU has, against the reference and against one mask; skipped without a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.utils import is_flash_attn_2_available

from models import MctpForCausalLM
from models.packed_attention import FLASH, FLEX, VARLEN, choose

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
GPU = torch.device("cuda")


def batch(row: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {
        key: torch.tensor([row[key]], device=GPU)
        for key in ("input_ids", "labels", "position_ids")
        if key in row
    }


def mild(model: MctpForCausalLM) -> MctpForCausalLM:
    """With weights as small as real ones: among large ones, what bfloat16 rounds off grows from layer to layer."""
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.data.mul_(0.1)
    return model


def set_attention(model: MctpForCausalLM, attention: str, dtype: torch.dtype) -> None:
    if attention == FLASH and not is_flash_attn_2_available():
        pytest.skip("no package flash-attn")
    model.set_attn_implementation(choose(GPU, dtype, attention))


@pytest.mark.parametrize("name", ["mtp1", "mtp10"])
@pytest.mark.parametrize("kind", ["losses", "packed_losses"])
def test_flex_attention_makes_the_references_losses(load_golden: Any, name: str, kind: str) -> None:
    model, golden = load_golden(name)
    model.to(GPU)
    set_attention(model, FLEX, torch.float32)
    for row in golden[kind]:
        model.lm_head.requires_grad_(not row.get("lm_head_frozen", False))
        assert model(**batch(row)).loss.item() == pytest.approx(row["loss"], abs=1e-4)


@pytest.mark.parametrize("attention", [VARLEN, FLASH, FLEX])
def test_losses_and_gradients_are_those_of_one_mask_in_bfloat16(make_model: Any, attention: str) -> None:
    sizes = {"hidden_size": 256, "intermediate_size": 384}  # heads of 64
    masked, other = (mild(make_model(**sizes)).to(GPU, torch.bfloat16).train() for _ in range(2))
    set_attention(other, attention, torch.bfloat16)
    ids = torch.randint(0, 64, (2, 200), device=GPU)
    positions = torch.cat([torch.arange(length, device=GPU) for length in (60, 1, 139)])
    positions_BT = torch.stack((positions, torch.arange(200, device=GPU)))
    outputs = [model(ids, labels=ids, position_ids=positions_BT) for model in (masked, other)]
    assert outputs[1].loss.item() == pytest.approx(outputs[0].loss.item(), rel=2e-2)
    for output in outputs:
        output.loss.backward()
    for (name, one), (_, two) in zip(masked.named_parameters(), other.named_parameters(), strict=True):
        assert (one.grad - two.grad).norm() <= 5e-2 * one.grad.norm(), name
