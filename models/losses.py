"""Cross entropy at labelled positions only, without ever holding all logits.

Shapes: B rows, T tokens, D width, V vocabulary, N labelled positions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from models.packing import IGNORED

# Logits of one piece: 2^26 of them are 256 MiB in float32. A row of 32,768 tokens over 168,072 codes has 82 times that.
MAX_LOGITS = 1 << 26


def labelled_cross_entropy(hidden_BTD: Tensor, targets_BT: Tensor, head: nn.Linear) -> Tensor:
    """Mean cross entropy, in float32, of ``head(hidden)`` over the positions that carry a label.

    Without any label it is zero, and still part of the graph: on several ranks every parameter must get a gradient
    in the same steps. Long rows are taken in pieces whose logits are computed again in the backward pass.
    """
    labelled_BT = targets_BT != IGNORED
    hidden_ND = hidden_BTD[labelled_BT]
    targets_N = targets_BT[labelled_BT]
    rows = max(1, MAX_LOGITS // head.out_features)
    if len(targets_N) <= rows:
        total = _summed_cross_entropy(hidden_ND, targets_N, head)
    else:
        pieces = zip(torch.split(hidden_ND, rows), torch.split(targets_N, rows), strict=True)
        sums = [
            checkpoint(_summed_cross_entropy, hidden, targets, head, use_reentrant=False)
            for hidden, targets in pieces
        ]
        total = sum(sums[1:], start=sums[0])
    return total / max(1, len(targets_N))


def _summed_cross_entropy(hidden_ND: Tensor, targets_N: Tensor, head: nn.Linear) -> Tensor:
    return functional.cross_entropy(head(hidden_ND).float(), targets_N, reduction="sum")
