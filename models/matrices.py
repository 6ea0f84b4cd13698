"""Matrices of linear layers as decoding wants them: side by side where they read the same rows, laid out for few rows.

Decoding is bound by memory: every step reads every weight once for a handful of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.errors import ModelError
from models.quantized import Weights, quantized

Projection = Callable[[Tensor], Tensor]
# Below this, what the other layouts save is less than what their calls cost (measured on one core, 1 to 11 rows).
_WORTH_PACKING_BYTES = 1 << 20


def projection(layers: Sequence[Any], fused: bool, weights: Weights = "float") -> Projection:
    """What turns rows (N, I) into the outputs of all the linear layers, side by side (N, O).

    Args:
        layers: ``nn.Linear`` of the same input.
        fused: copy their weights into one matrix, which few rows pass faster; else their own are used.
        weights: what they are kept in.

    Raises:
        ModelError: for fewer bits without a copy, or as :func:`models.quantized.quantized`.
    """
    if fused:
        weight_OI, bias_O = _joined(layers)
        return packed(weight_OI, bias_O, weights)
    if weights != "float":
        raise ModelError(f"{weights} weights are a copy of the model's own, but fused=False asks for none")
    if len(layers) == 1:
        return Matrix(*_joined(layers))
    return partial(_side_by_side, [projection((layer,), fused) for layer in layers])


def packed(weight_OI: Tensor, bias_O: Tensor | None, weights: Weights = "float") -> Projection:
    """A linear layer in the layout that this device and type read fastest."""
    if weights != "float":
        return quantized(weight_OI, bias_O, weights)
    has_layouts = hasattr(torch.ops.mkl, "_mkl_linear") and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    is_float = weight_OI.dtype == torch.float32 and weight_OI.device.type == "cpu"
    if has_layouts and is_float and weight_OI.nbytes >= _WORTH_PACKING_BYTES:
        return PackedMatrix(weight_OI, bias_O)
    return Matrix(weight_OI, bias_O)


def _side_by_side(parts: Sequence[Projection], rows_NI: Tensor) -> Tensor:
    return torch.cat([part(rows_NI) for part in parts], dim=-1)


def _joined(layers: Sequence[Any]) -> tuple[Tensor, Tensor | None]:
    """Weights and biases below one another; of a single layer, its own."""
    weights, biases = [layer.weight.detach() for layer in layers], [layer.bias for layer in layers]
    weight_OI = weights[0] if len(weights) == 1 else torch.cat(weights)
    if all(bias is None for bias in biases):
        return weight_OI, None
    assert all(bias is not None for bias in biases), "Qwen2 has biases on all of query, key and value"
    return weight_OI, torch.cat([bias.detach() for bias in biases])


class Matrix:
    """A linear layer on the matrix itself, without ``nn.Linear``'s detours."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None) -> None:
        self.weight_IO, self.bias_O = weight_OI.t(), bias_O

    def __call__(self, rows_NI: Tensor) -> Tensor:
        """(N, O)."""
        if self.bias_O is None:
            return torch.mm(rows_NI, self.weight_IO)
        return torch.addmm(self.bias_O, rows_NI, self.weight_IO)


class PackedMatrix:
    """A linear layer in two layouts, for one row and for several; on a CPU, in float32.

    For a single row MKL's packed form comes closest to the memory's speed. For some ten rows, which a backbone step
    reads after as many steps of modules, its product takes four times as long as for one; oneDNN's takes 1.6 times.
    """

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None) -> None:
        self.bias_O = bias_O
        self._one = torch.ops.mkl._mkl_reorder_linear_weight(weight_OI, 1)
        self._some = torch.ops.mkldnn._reorder_linear_weight(weight_OI, None)
        # The operation asks for the weight itself too, but reads no more than its shape where there is one row.
        self._shape = weight_OI.new_zeros(()).expand(weight_OI.shape)

    def __call__(self, rows_NI: Tensor) -> Tensor:
        """(N, O)."""
        if rows_NI.shape[0] == 1:
            row: Tensor = torch.ops.mkl._mkl_linear.default(rows_NI, self._one, self._shape, self.bias_O, 1)
            return row
        rows: Tensor = torch.ops.mkldnn._linear_pointwise.default(
            rows_NI, self._some, self.bias_O, "none", [], ""
        )
        return rows
