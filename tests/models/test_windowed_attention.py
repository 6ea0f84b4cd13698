"""Attention by windows is attention under one mask, to the last gradient."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models import windowed_attention
from models.packing import segments_of
from models.windowed_attention import windows_of


def positions(*lengths: int) -> torch.Tensor:
    return torch.cat([torch.arange(length) for length in lengths])


@given(st.lists(st.integers(1, 700), min_size=1, max_size=30))
def test_windows_cover_the_row_and_cut_no_sample(lengths: list[int]) -> None:
    segments_BT = segments_of(positions(*lengths)[None])
    (windows,) = windows_of(segments_BT)
    starts = [0, *torch.tensor(lengths).cumsum(0).tolist()]
    assert [window.start for window in windows] == [0, *[window.end for window in windows[:-1]]]
    assert windows[-1].end == sum(lengths)
    assert {window.start for window in windows} <= set(starts)
    assert all(window.end - window.start <= max(128, *lengths) for window in windows)
    assert len(windows) <= 2 * sum(lengths) / 128 + 1


@pytest.mark.parametrize("lengths", [[(40,), (40,)], [(9, 3, 1, 20, 7), (5, 5, 30)], [(1,) * 40, (38, 2)]])
def test_losses_and_gradients_are_those_of_one_mask(
    make_model: Any, monkeypatch: pytest.MonkeyPatch, lengths: list[tuple[int, ...]]
) -> None:
    monkeypatch.setattr(windowed_attention, "_WINDOW_TOKENS", 8)
    masked, windowed = make_model(modules=3, attention="sdpa"), make_model(modules=3, attention="sdpa")
    windowed.set_attn_implementation(windowed_attention.WINDOWED)
    ids = torch.randint(0, 64, (2, 40))
    positions_BT = torch.stack([positions(*row) for row in lengths])
    outputs = [model(ids, labels=ids, position_ids=positions_BT) for model in (masked, windowed)]
    torch.testing.assert_close(outputs[0].loss, outputs[1].loss)
    for output in outputs:
        output.loss.backward()
    for (name, one), (_, two) in zip(masked.named_parameters(), windowed.named_parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, atol=1e-6, rtol=1e-4, msg=name)
