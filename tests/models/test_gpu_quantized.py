"""Matrices in 8 and 4 bits on a GPU, against the floats that their codes stand for; skipped without a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from models import AudioWords, Engine, MctpConfig, MctpForCausalLM
from models.errors import ModelError
from models.quantized import (
    INT4_GROUP,
    WeightInt4,
    WeightInt8,
    Weights,
    quantized,
    rounded_to_int4,
    rounded_to_int8,
)

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
GPU = torch.device("cuda")
PROMPTS = [[3, 9, 4], [7] * 12, [5, 6, 5, 6, 1, 2, 8]]


def made_model(width: int = 128) -> MctpForCausalLM:
    torch.manual_seed(0)
    config = MctpConfig(
        vocab_size=163,  # not in eights: the kernel's outputs are padded
        hidden_size=width,
        intermediate_size=2 * width,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_hidden_layers=2 + 3,
        num_nextn_predict_layers=3,
        max_position_embeddings=256,
        dtype="bfloat16",
    )
    return MctpForCausalLM(config).eval().to(GPU, torch.bfloat16)


@pytest.mark.parametrize("rows", [1, 2, 11, 17, 64, 65, 300])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("outputs", "inputs"), [(40, 320), (1003, 896), (4864, 896), (896, 4864)])
@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_products_are_those_of_the_weights_that_the_codes_stand_for(
    weights: Weights, outputs: int, inputs: int, bias: bool, rows: int
) -> None:
    torch.manual_seed(0)
    weight_OI = torch.randn(outputs, inputs, device=GPU, dtype=torch.bfloat16)
    bias_O = torch.randn(outputs, device=GPU, dtype=torch.bfloat16) if bias else None
    rows_NI = torch.randn(rows, inputs, device=GPU, dtype=torch.bfloat16)
    if weights == "int8":
        codes_OI, scale_O = rounded_to_int8(weight_OI)
        stood_OI = codes_OI * scale_O[:, None]
    else:
        codes_OI, scale_OG, zero_OG = rounded_to_int4(weight_OI)
        shifted_OGi = codes_OI.view(*scale_OG.shape, INT4_GROUP).float() - 8
        stood_OI = (shifted_OGi * scale_OG.float()[..., None] + zero_OG.float()[..., None]).view_as(weight_OI)
    expected_NO = torch.nn.functional.linear(
        rows_NI.float(), stood_OI, None if bias_O is None else bias_O.float()
    )
    made = quantized(weight_OI, bias_O, weights)
    assert isinstance(made, WeightInt8 if weights == "int8" else WeightInt4)
    found_NO = made(rows_NI).float()
    assert found_NO.shape == expected_NO.shape
    assert (found_NO - expected_NO).norm() / expected_NO.norm() < 0.01


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_an_engine_decodes_in_every_way(weights: Weights) -> None:
    engine = Engine(made_model(), audio_words=AudioWords(first=30, count=12, others=(2,)), weights=weights)
    asked: dict[str, Any] = {"schedule": [1, 2, 2, 3], "max_new_tokens": 20}
    for constrained in (False, True):
        alone = [engine.generate(prompt, constrained=constrained, **asked) for prompt in PROMPTS]
        assert all(len(ids) == 20 and max(ids) < 163 for ids in alone)
        assert alone == [list(engine.stream(prompt, constrained=constrained, **asked)) for prompt in PROMPTS]
        assert [len(ids) for ids in engine.generate_batch(PROMPTS, constrained=constrained, **asked)] == [
            20
        ] * 3


def test_8_bits_take_about_half_the_memory() -> None:
    weight_OI = torch.randn(4096, 4096, device=GPU, dtype=torch.bfloat16)
    before = torch.cuda.memory_allocated()
    made = [quantized(weight_OI, None, "int8"), quantized(weight_OI, None, "int4")]
    kept = torch.cuda.memory_allocated() - before
    assert made and kept < 0.85 * weight_OI.nbytes  # a half and a quarter, and the scales


def test_4_bits_of_another_type_or_width_are_refused() -> None:
    with pytest.raises(ModelError, match=r"bfloat16 model; this one is torch\.float32"):
        quantized(torch.randn(8, 128, device=GPU), None, "int4")
    with pytest.raises(ModelError, match="64 inputs, which do not divide a matrix of 96 inputs"):
        quantized(torch.randn(8, 96, device=GPU, dtype=torch.bfloat16), None, "int4")
