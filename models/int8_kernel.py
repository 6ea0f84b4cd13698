"""A few rows by a matrix of 8-bit weights on a GPU, written in Triton: each weight is read once, as one byte.

Imported only where there is a GPU: PyTorch brings Triton along with CUDA, and only then. Shapes: N rows, I inputs, O
outputs.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_FEWEST = 16  # rows of a tile: what the matrix units multiply at once
# Outputs and inputs of a tile, programs' warps and stages: the fastest of 96 on an H100 at the widths of Qwen2.5-7B.
_TILE_OF_FEW = {"tile_o": 32, "tile_i": 512, "num_warps": 4, "num_stages": 4}
_TILE = {"tile_o": 16, "tile_i": 256, "num_warps": 4, "num_stages": 3}  # more rows fill the shared memory


@triton.jit  # type: ignore[untyped-decorator]
def _multiply(  # type: ignore[no-untyped-def]
    rows,
    codes,
    scales,
    biases,
    out,
    count,
    outputs,
    inputs,
    has_bias: tl.constexpr,
    tile_n: tl.constexpr,
    tile_o: tl.constexpr,
    tile_i: tl.constexpr,
):
    """A program for each ``tile_o`` outputs, of all rows."""
    at_n = tl.arange(0, tile_n)
    at_o = tl.program_id(0) * tile_o + tl.arange(0, tile_o)
    is_row, is_output = at_n < count, at_o < outputs
    total = tl.zeros((tile_n, tile_o), dtype=tl.float32)
    for start in range(0, inputs, tile_i):
        at_i = start + tl.arange(0, tile_i)
        is_input = at_i < inputs
        row = tl.load(
            rows + at_n[:, None] * inputs + at_i[None, :],
            mask=is_row[:, None] & is_input[None, :],
            other=0.0,
        )
        # A large head has more than 2^31 weights.
        code = tl.load(
            codes + at_o[None, :].to(tl.int64) * inputs + at_i[:, None],
            mask=is_output[None, :] & is_input[:, None],
            other=0,
        )
        total += tl.dot(row, code.to(row.dtype))
    total = total * tl.load(scales + at_o, mask=is_output, other=0.0)[None, :]
    if has_bias:
        total += tl.load(biases + at_o, mask=is_output, other=0.0).to(tl.float32)[None, :]
    tl.store(
        out + at_n[:, None] * outputs + at_o[None, :],
        total.to(out.dtype.element_ty),
        mask=is_row[:, None] & is_output[None, :],
    )


def multiply(rows_NI: Tensor, codes_OI: Tensor, scale_O: Tensor, bias_O: Tensor | None) -> Tensor:
    """(N, O): rows by the weights that the codes and scales stand for, sums in float32."""
    rows_NI = rows_NI.contiguous()
    count, inputs = rows_NI.shape
    outputs = len(codes_OI)
    out_NO = torch.empty(count, outputs, dtype=rows_NI.dtype, device=rows_NI.device)
    tile = _TILE_OF_FEW if count <= _FEWEST else _TILE
    _multiply[(triton.cdiv(outputs, tile["tile_o"]),)](
        rows_NI,
        codes_OI,
        scale_O,
        scale_O if bias_O is None else bias_O,
        out_NO,
        count,
        outputs,
        inputs,
        has_bias=bias_O is not None,
        tile_n=max(_FEWEST, triton.next_power_of_2(count)),
        **tile,
    )
    return out_NO
