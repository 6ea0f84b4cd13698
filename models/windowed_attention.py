"""Attention over packed rows, window by window: what a mask would throw away is never computed.

A row of many short samples attends within each sample only, a small part of the T x T scores. So the row is cut, at
sample boundaries, into windows of neighbouring samples, and each window attends by itself, through SDPA with a mask of
its own. The outcome is that of one 4-D mask over the row; what it saves is measured by `tests/bench/attention.py`.

Shapes: B rows, T tokens of a row, W tokens of a window, A attention heads, K key heads, E width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

WINDOWED = "windowed"
# Samples join a window as long as it stays within this many tokens, or this share of the row where that is more; a
# longer sample has a window of its own. Smaller windows cost more calls than they save.
_WINDOW_TOKENS = 128
_WINDOW_SHARE = 1 / 16


@dataclass(frozen=True)
class Window:
    """Whole samples of one row, from token ``start`` to before ``end``.

    ``visible_WW`` has True for "may look"; ``None`` where there is one sample, which is plainly causal.
    """

    start: int
    end: int
    visible_WW: Tensor | None


def windows_of(segments_BT: Tensor) -> list[list[Window]]:
    """The windows of each row, in order, which together cover it."""
    tokens = segments_BT.shape[1]
    size = max(_WINDOW_TOKENS, int(tokens * _WINDOW_SHARE))
    return [_windows(segments_T, size) for segments_T in segments_BT]


def windowed_attention(
    module: nn.Module,
    query_BATE: Tensor,
    key_BKTE: Tensor,
    value_BKTE: Tensor,
    attention_mask: list[list[Window]],
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each window, in the form transformers calls attention functions.

    Returns:
        Values of shape (B, T, A, E), and no weights.
    """
    rows = []
    for row, windows in enumerate(attention_mask):
        parts = [
            scaled_dot_product_attention(
                query_BATE[row, :, window.start : window.end],
                key_BKTE[row, :, window.start : window.end],
                value_BKTE[row, :, window.start : window.end],
                attn_mask=window.visible_WW,
                is_causal=window.visible_WW is None,
                scale=scaling,
                enable_gqa=query_BATE.shape[1] != key_BKTE.shape[1],
            )
            for window in windows
        ]
        rows.append(torch.cat(parts, dim=1))
    return torch.stack(rows).transpose(1, 2).contiguous(), None


def _windows(segments_T: Tensor, size: int) -> list[Window]:
    starts = (segments_T[1:] != segments_T[:-1]).nonzero().flatten() + 1
    edges = [0, *starts.tolist(), len(segments_T)]
    cuts = [0]
    for edge, following in pairwise(edges[1:]):
        if following - cuts[-1] > size:
            cuts.append(edge)
    cuts.append(len(segments_T))
    return [_window(segments_T, start, end) for start, end in pairwise(cuts)]


def _window(segments_T: Tensor, start: int, end: int) -> Window:
    own_W = segments_T[start:end]
    if bool(own_W[0] == own_W[-1]):
        return Window(start, end, None)
    causal_WW = torch.ones(end - start, end - start, dtype=torch.bool, device=own_W.device).tril()
    return Window(start, end, (own_W[:, None] == own_W[None, :]) & causal_WW)


ALL_ATTENTION_FUNCTIONS.register(WINDOWED, windowed_attention)
