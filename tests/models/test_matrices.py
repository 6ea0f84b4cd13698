"""A layer in the layouts of decoding gives what ``nn.Linear`` gives, for any number of rows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from models.matrices import Matrix, PackedMatrix, projection


@pytest.mark.parametrize("rows", [1, 2, 11, 40])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("outputs", [24, 700])
@pytest.mark.parametrize("fused", [True, False])
def test_projections_equal_the_linear_layers_side_by_side(
    rows: int, bias: bool, outputs: int, fused: bool
) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(512, outputs, bias=bias), nn.Linear(512, 30, bias=bias)]
    rows_NI = torch.randn(rows, 512)
    with torch.no_grad():
        expected = torch.cat([layer(rows_NI) for layer in layers], dim=-1)
        torch.testing.assert_close(projection(layers, fused)(rows_NI), expected)


def test_only_what_is_worth_it_is_packed() -> None:
    small, large = nn.Linear(512, 500, bias=False), nn.Linear(512, 512, bias=False)
    assert isinstance(projection((small,), fused=True), Matrix)
    assert isinstance(projection((large,), fused=True), PackedMatrix)
    assert isinstance(projection((large,), fused=False), Matrix)
    assert isinstance(projection((large.bfloat16(),), fused=True), Matrix)
