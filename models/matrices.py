"""Matrices of linear layers as decoding wants them: side by side where they read the same rows, in 8 bits on request.

Decoding is bound by memory: every step reads every weight once for a handful of rows. So what counts is how many bytes
a matrix has, and how evenly they come.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

Projection = Callable[[Tensor], Tensor]
BITS = (8,)
_HUGE_PAGE = 2 << 20


def projection(layers: Sequence[Any], fused: bool, bits: int | None) -> Projection:
    """What turns rows (N, I) into the outputs of all the linear layers, side by side (N, O).

    Args:
        layers: ``nn.Linear`` of the same input.
        fused: copy their weights into one matrix, which a small batch reads faster; else their own are used.
        bits: of each weight, with a scale per output; ``None`` leaves them as they are. Needs ``fused``.

    Raises:
        ModelError: for a number of bits that there is no kernel for.
    """
    if fused:
        return Matrix(*_joined(layers))
    if len(layers) == 1:
        return Matrix(layers[0].weight.detach(), None if layers[0].bias is None else layers[0].bias.detach())
    return partial(_side_by_side, [projection((layer,), fused, bits) for layer in layers])


def _side_by_side(parts: Sequence[Projection], rows_NI: Tensor) -> Tensor:
    return torch.cat([part(rows_NI) for part in parts], dim=-1)


def _joined(layers: Sequence[Any]) -> tuple[Tensor, Tensor | None]:
    weights = [layer.weight.detach() for layer in layers]
    biases = [layer.bias for layer in layers]
    if any(bias is not None for bias in biases):
        given = [
            weight.new_zeros(weight.shape[0]) if bias is None else bias.detach()
            for weight, bias in zip(weights, biases, strict=True)
        ]
        return on_huge_pages(weights), torch.cat(given)
    return on_huge_pages(weights), None


def on_huge_pages(parts: Sequence[Tensor]) -> Tensor:
    """The matrices below one another, in memory of large pages where they are big and on a CPU.

    A core that streams through gigabytes in pages of 4 KiB spends a share of its time on looking up pages.
    """
    rows = sum(len(part) for part in parts)
    first = parts[0]
    size = rows * first[0].numel() * first.element_size()
    if first.device.type != "cpu" or size < _HUGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.cat(list(parts))
    memory = mmap.mmap(-1, size)  # lives as long as the tensor does
    memory.madvise(mmap.MADV_HUGEPAGE)
    target = torch.frombuffer(memory, dtype=first.dtype).view(rows, *first.shape[1:])
    torch.cat(list(parts), out=target)
    return target


class Matrix:
    """A linear layer on the matrix itself, without ``nn.Linear``'s detours."""

    def __init__(self, weight_OI: Tensor, bias_O: Tensor | None) -> None:
        self.weight_OI, self.weight_IO, self.bias_O = weight_OI, weight_OI.t(), bias_O

    def __call__(self, rows_NI: Tensor) -> Tensor:
        """(N, O)."""
        if self.bias_O is None:
            return torch.mm(rows_NI, self.weight_IO)
        return torch.addmm(self.bias_O, rows_NI, self.weight_IO)
