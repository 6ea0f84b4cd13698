"""Every attention implementation shows each sample itself only, and is refused where it could not.

Those of a GPU have no kernel on a CPU: here they are given one that does what theirs promise, so that the lengths and
masks handed to it are checked; the kernels themselves are in test_gpu_attention.py.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.attention.flex_attention import create_mask
from torch.nn.functional import scaled_dot_product_attention
from transformers import modeling_flash_attention_utils as flash_utils
from transformers.integrations import flex_attention

from models import packed_attention
from models.errors import ModelError
from models.packed_attention import (
    FLASH,
    FLEX,
    GPU_ONLY,
    VARLEN,
    attention_arguments,
    choose,
    sample_bounds,
    visible,
)
from models.packing import segments_of

CPU, GPU = torch.device("cpu"), torch.device("cuda")
ROWS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=8), min_size=1, max_size=3)


def segments(rows: list[list[int]]) -> Tensor:
    """Of rows that are filled up to the longest one by a sample of padding."""
    longest = max(map(sum, rows))
    filled = [[*row, longest - sum(row)] for row in rows]
    return segments_of(torch.stack([torch.cat([torch.arange(length) for length in row]) for row in filled]))


@given(ROWS)
def test_a_token_sees_its_own_sample_and_nothing_ahead(rows: list[list[int]]) -> None:
    segments_BT = segments(rows)
    for row, seen_TT in zip(segments_BT.tolist(), visible(segments_BT)[:, 0].tolist(), strict=True):
        assert seen_TT == [[j <= i and row[i] == row[j] for j in range(len(row))] for i in range(len(row))]


@given(ROWS)
def test_bounds_of_samples_are_those_of_the_mask(rows: list[list[int]]) -> None:
    segments_BT = segments(rows)
    bounds = sample_bounds(segments_BT)
    assert bounds["cu_seq_lens_q"] is bounds["cu_seq_lens_k"]
    assert bounds["cu_seq_lens_q"].dtype == torch.int32
    lengths = bounds["cu_seq_lens_q"].diff()
    assert bounds["max_length_q"] == bounds["max_length_k"] == lengths.max()
    blocks = [torch.ones(length, length, dtype=torch.bool).tril() for length in lengths.tolist()]
    assert torch.block_diag(*blocks).bool().equal(torch.block_diag(*visible(segments_BT)[:, 0]).bool())


@given(ROWS)
def test_the_function_of_two_places_is_the_mask(rows: list[list[int]]) -> None:
    segments_BT = segments(rows)
    count, tokens = segments_BT.shape
    block_mask = packed_attention._block_mask(segments_BT)
    mask = create_mask(block_mask.mask_mod, count, None, tokens, tokens, device="cpu")
    assert mask.equal(visible(segments_BT))


def one_by_one(
    query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, longest: int, scale: float | None
) -> Tensor:
    """What a kernel for lengths promises, of tensors of shape (tokens, heads, width)."""
    assert longest == bounds.diff().max()
    assert bounds[0] == 0 and bounds[-1] == len(query)
    lengths = bounds.diff().tolist()
    pieces = zip(*(states.split(lengths) for states in (query, key, value)), strict=True)
    parts = [
        scaled_dot_product_attention(
            *(states.transpose(0, 1)[None] for states in piece), is_causal=True, scale=scale, enable_gqa=True
        )
        for piece in pieces
    ]
    return torch.cat([part[0].transpose(0, 1) for part in parts])


def varlen_kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float | None,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> Tensor:
    assert cu_seq_q.equal(cu_seq_k) and max_q == max_k and window_size == (-1, 0) and enable_gqa
    return one_by_one(query, key, value, cu_seq_q, max_q, scale)


def flash_kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
) -> Tensor:
    assert cu_seqlens_q.equal(cu_seqlens_k) and max_seqlen_q == max_seqlen_k and causal and dropout_p == 0
    return one_by_one(query, key, value, cu_seqlens_q, max_seqlen_q, softmax_scale)


def flex_kernel(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
    mask = options["block_mask"]
    tokens = query.shape[2]
    dense = create_mask(mask.mask_mod, len(query), None, tokens, tokens, device="cpu")
    return scaled_dot_product_attention(
        query, key, value, attn_mask=dense, scale=options["scale"], enable_gqa=options["enable_gqa"]
    )


@pytest.fixture
def on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The implementations of a GPU, with kernels that a CPU can run."""
    monkeypatch.setattr(packed_attention, "GPU_ONLY", ())
    monkeypatch.setattr(packed_attention, "ANYWHERE", (*packed_attention.ANYWHERE, *GPU_ONLY))
    monkeypatch.setattr(packed_attention, "_HALF_ONLY", ())
    monkeypatch.setattr(packed_attention, "varlen_attn", varlen_kernel)
    kernels = (None, flash_kernel, None, None, None)
    process = flash_utils._lazy_define_process_function(flash_kernel)
    monkeypatch.setattr(flash_utils, "lazy_import_flash_attention", lambda _: (kernels, (process, None)))
    monkeypatch.setattr(flex_attention, "compile_friendly_flex_attention", flex_kernel)


@pytest.mark.usefixtures("on_a_cpu")
@pytest.mark.parametrize("attention", GPU_ONLY)
@pytest.mark.parametrize("name", ["mtp1", "mtp10"])
def test_what_the_kernels_are_given_makes_the_references_losses(
    load_golden: Any, name: str, attention: str
) -> None:
    model, golden = load_golden(name)
    model.config._attn_implementation = attention
    for row in golden["packed_losses"]:
        keys = ("input_ids", "labels", "position_ids")
        batch = {key: torch.tensor([row[key]]) for key in keys}
        assert model(**batch).loss.item() == pytest.approx(row["loss"], abs=1e-4)


@pytest.mark.usefixtures("on_a_cpu")
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("attention", GPU_ONLY)
def test_gradients_are_those_of_one_mask(make_model: Any, attention: str, checkpointing: bool) -> None:
    masked, other = make_model().train(), make_model().train()
    other.config._attn_implementation = attention
    if checkpointing:
        other.activation_checkpointing_enable()
    ids = torch.randint(0, 64, (2, 20))
    positions = torch.cat((torch.arange(6), torch.arange(1), torch.arange(13)))
    positions_BT = torch.stack((positions, torch.arange(20)))
    for model in (masked, other):
        model(ids, labels=ids, position_ids=positions_BT).loss.backward()
    for (name, one), (_, two) in zip(masked.named_parameters(), other.named_parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("attention", GPU_ONLY)
def test_a_cpu_has_none_of_the_gpus(make_model: Any, attention: str) -> None:
    model = make_model()
    model.config._attn_implementation = attention
    with pytest.raises(ModelError, match=rf"{attention}.*needs a GPU.*'cpu'.*eager.*sdpa.*windowed"):
        model(torch.zeros(1, 4, dtype=torch.long))
    with pytest.raises(ModelError, match=r"needs a GPU"):
        choose(CPU, torch.bfloat16, attention)


def test_an_implementation_of_another_kind_is_refused(make_model: Any) -> None:
    model = make_model()
    model.config._attn_implementation = "paged"
    with pytest.raises(ModelError, match=r"'paged' is not supported.*eager.*sdpa"):
        model(torch.zeros(1, 4, dtype=torch.long))
    with pytest.raises(ModelError, match="not supported"):
        choose(CPU, torch.float32, "paged")


@pytest.mark.parametrize("attention", [VARLEN, FLASH])
def test_half_precision_is_needed_by_kernels_for_it(attention: str) -> None:
    with pytest.raises(ModelError, match=r"takes bfloat16 or float16.*torch\.float32"):
        choose(GPU, torch.float32, attention)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_attention, "is_flash_attn_2_available", lambda: False)
    with pytest.raises(ModelError, match="flash-attn"):
        choose(GPU, torch.bfloat16, FLASH)


def test_auto_takes_what_needs_no_mask() -> None:
    assert choose(CPU, torch.float32) == choose(CPU, torch.bfloat16) == "windowed"
    assert choose(GPU, torch.float32) == "windowed"
    assert choose(GPU, torch.bfloat16) == VARLEN
    assert choose(GPU, torch.bfloat16, "flex") == choose(GPU, torch.float32, FLEX) == FLEX
    for name in ("eager", "sdpa", "windowed"):
        assert choose(CPU, torch.float32, name) == name


def test_without_packing_no_mask_is_made() -> None:
    assert attention_arguments(torch.ones(2, 8), "sdpa", torch.float32) == {"attention_mask": None}
