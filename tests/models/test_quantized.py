"""Matrices in 8 and 4 bits: how far they are from the floats, and that decoding with them stays one and the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import AudioWords, Engine, Sampling
from models.errors import ModelError
from models.matrices import projection
from models.quantized import (
    INT4_GROUP,
    RowsInt8,
    check_cpu,
    quantized,
    rounded_to_int4,
    rounded_to_int8,
)

PROMPTS = [[3, 9, 4], [7] * 12, [5, 6, 5, 6, 1, 2, 8]]
BOOST = [1, 2, 2, 3]


def has_vnni() -> bool:
    try:
        check_cpu()
    except ModelError:
        return False
    return True


needs_vnni = pytest.mark.skipif(not has_vnni(), reason="no VNNI")


def weight(outputs: int = 300, inputs: int = 512) -> Tensor:
    """Rows of very different sizes, one of zeros."""
    torch.manual_seed(0)
    sizes_O1 = torch.logspace(-4, 2, outputs)[:, None]
    return torch.cat((torch.randn(outputs - 1, inputs) * sizes_O1[1:], torch.zeros(1, inputs)))


def test_8_bits_are_half_a_step_from_the_floats() -> None:
    weight_OI = weight()
    codes_OI, scale_O = rounded_to_int8(weight_OI)
    assert codes_OI.dtype == torch.int8 and codes_OI.abs().max() == 127
    errors_OI = (codes_OI * scale_O[:, None] - weight_OI).abs()
    assert (errors_OI <= 0.5001 * scale_O[:, None]).all()
    assert torch.equal(scale_O[:-1], weight_OI[:-1].abs().amax(dim=1) / 127)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_4_bits_are_half_a_step_from_the_floats_in_each_group(dtype: torch.dtype) -> None:
    weight_OI = weight().to(dtype)
    codes_OI, scale_OG, zero_OG = rounded_to_int4(weight_OI)
    assert (int(codes_OI.min()), int(codes_OI.max())) == (0, 15)
    shifted_OGi = codes_OI.view(*scale_OG.shape, INT4_GROUP).float() - 8
    made_OGi = shifted_OGi * scale_OG.float()[..., None] + zero_OG.float()[..., None]
    errors_OGi = (made_OGi - weight_OI.float().view_as(made_OGi)).abs()
    # In 16 bits scale and zero are themselves rounded, to 1 in 256.
    slack = 0.5001 if dtype == torch.float32 else 0.6
    assert (errors_OGi <= slack * scale_OG.float()[..., None] + 1e-9).all()


def test_a_width_that_the_groups_do_not_divide_is_refused_with_both_numbers() -> None:
    with pytest.raises(ModelError, match="each 64 inputs, which do not divide a matrix of 96 inputs"):
        rounded_to_int4(torch.randn(8, 96))


@needs_vnni
@pytest.mark.parametrize("rows", [1, 2, 11, 40])
@pytest.mark.parametrize("bias", [True, False])
def test_rows_in_8_bits_are_near_the_linear_layers_and_do_not_depend_on_each_other(
    rows: int, bias: bool
) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(512, 700, bias=bias), nn.Linear(512, 30, bias=bias)]
    rows_NI = torch.randn(rows, 512) * torch.logspace(-3, 3, rows)[:, None]
    with torch.inference_mode():
        expected_NO = torch.cat([layer(rows_NI) for layer in layers], dim=-1)
        made = projection(layers, fused=True, weights="int8")
        assert isinstance(made, RowsInt8)
        found_NO = made(rows_NI)
        errors_N = (found_NO - expected_NO).norm(dim=1) / expected_NO.norm(dim=1)
        assert 1e-4 < errors_N.max() < 0.02
        alone_NO = torch.cat([made(row_1I) for row_1I in rows_NI[:, None]])
    assert torch.equal(found_NO, alone_NO)


@needs_vnni
def test_a_row_of_zeros_is_the_bias_and_one_that_is_no_number_stays_none() -> None:
    bias_O = torch.randn(300)
    made = quantized(weight(), bias_O, "int8")
    rows_NI = torch.stack((torch.zeros(512), torch.full((512,), torch.nan)))
    zero_O, none_O = made(rows_NI)
    assert torch.equal(zero_O, bias_O) and none_O.isnan().all()


@needs_vnni
def test_8_bits_decode_the_same_alone_in_a_batch_streamed_and_verified(make_model: Any) -> None:
    words = AudioWords(first=30, count=12, others=(2,))
    engine = Engine(make_model(), audio_words=words, weights="int8")
    for sampling in (None, Sampling(temperature=0.9, top_k=20, seed=5)):
        for constrained in (False, True):
            asked: dict[str, Any] = {"sampling": sampling, "constrained": constrained}
            alone = [engine.generate(prompt, BOOST, 30, **asked) for prompt in PROMPTS]
            assert engine.generate_batch(PROMPTS, BOOST, 30, **asked) == alone
    for prompt in PROMPTS:
        assert engine.generate_verified(prompt, 3, 30) == engine.generate(prompt, [1, 0], 30)


@needs_vnni
def test_an_engine_in_8_bits_keeps_no_floats_of_its_matrices(make_model: Any) -> None:
    model = make_model()
    float_head = model.lm_head.weight.detach()
    engine = Engine(model, audio_words=AudioWords(first=30, count=12, others=(2,)), weights="int8")
    kept = [value for value in vars(engine.weights).values() if isinstance(value, Tensor)]
    kept += [value for value in vars(engine.weights.head).values() if isinstance(value, Tensor)]
    assert not [value for value in kept if value.data_ptr() == float_head.data_ptr()]


def test_what_cannot_be_kept_in_fewer_bits_is_refused(make_model: Any) -> None:
    with pytest.raises(ModelError, match="no fast kernel for int4 weights on 'cpu'"):
        Engine(make_model(), weights="int4")
    with pytest.raises(ModelError, match="fused=False asks for none"):
        Engine(make_model(), fused=False, weights="int8")


@needs_vnni
def test_a_cpu_without_the_instructions_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64", "cpu_name": "Old One"}
    )
    with pytest.raises(ModelError, match=r"need its VNNI instructions, which this one \(Old One\) lacks"):
        quantized(weight(), None, "int8")
