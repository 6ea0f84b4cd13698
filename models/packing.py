"""Samples packed into one row: where each begins, who may look at whom, and which labels count.

Shapes: B rows, T tokens of a row.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.errors import ModelError
from models.windowed_attention import WINDOWED, Window, windows_of

IGNORED = -100
ATTENTION_IMPLEMENTATIONS = ("eager", "sdpa", WINDOWED)


def segments_of(position_ids_BT: Tensor) -> Tensor:
    """Number the samples of each row: a new one begins wherever a position does not follow on the one before.

    Returns:
        Integers of shape (B, T), equal for two tokens of a row exactly if they belong to the same sample.
    """
    breaks_BT = torch.ones_like(position_ids_BT, dtype=torch.bool)
    breaks_BT[:, 1:] = position_ids_BT[:, 1:] != position_ids_BT[:, :-1] + 1
    return breaks_BT.cumsum(dim=1)


def attention_mask(
    segments_BT: Tensor, implementation: str, dtype: torch.dtype
) -> Tensor | list[list[Window]] | None:
    """The causal mask that keeps every sample to itself, in the form ``implementation`` wants.

    One mask serves the backbone and all modules. Module k's row t stands for the hidden state at t and the token at
    t+k+1. Where those two lie in different samples the row is meaningless, but such rows are the last k+1 of their
    sample, so the causal order already hides them from every row that counts.

    Returns:
        ``None`` (SDPA, one sample per row: plainly causal), booleans with True for "may look" (SDPA), or
        numbers to add to the scores (eager), of shape (B, 1, T, T); the windows of each row (windowed).

    Raises:
        ModelError: for another implementation.
    """
    if implementation not in ATTENTION_IMPLEMENTATIONS:
        raise ModelError(
            f"attention implementation {implementation!r} is not supported: samples packed into one row are kept "
            f"apart by a 4-D mask, which {list(ATTENTION_IMPLEMENTATIONS)} take"
        )
    if implementation == WINDOWED:
        return windows_of(segments_BT)
    if implementation == "sdpa" and bool((segments_BT == segments_BT[:, :1]).all()):
        return None
    tokens = segments_BT.shape[1]
    causal_TT = torch.ones(tokens, tokens, dtype=torch.bool, device=segments_BT.device).tril()
    visible_B1TT = (segments_BT[:, None, :, None] == segments_BT[:, None, None, :]) & causal_TT
    if implementation == "sdpa":
        return visible_B1TT
    hidden = torch.zeros(visible_B1TT.shape, dtype=dtype, device=visible_B1TT.device)
    return hidden.masked_fill_(~visible_B1TT, torch.finfo(dtype).min)


def shifted_labels(labels_BT: Tensor, segments_BT: Tensor, shift: int) -> Tensor:
    """For each position the label ``shift`` tokens later, if that is still the same sample.

    Returns:
        Labels of shape (B, T), ``IGNORED`` where there is none.
    """
    targets_BT = torch.full_like(labels_BT, IGNORED)
    if shift < labels_BT.shape[1]:
        same_sample = segments_BT[:, shift:] == segments_BT[:, :-shift]
        targets_BT[:, :-shift] = torch.where(same_sample, labels_BT[:, shift:], IGNORED)
    return targets_BT
