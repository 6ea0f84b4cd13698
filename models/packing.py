"""Samples packed into one row: where each begins, and which labels count.

Shapes: B rows, T tokens of a row, S samples of a row.
"""

from __future__ import annotations

import torch
from torch import Tensor

IGNORED = -100


def segments_of(position_ids_BT: Tensor) -> Tensor:
    """Number the samples of each row: a new one begins wherever a position does not follow on the one before.

    Returns:
        Integers of shape (B, T), equal for two tokens of a row exactly if they belong to the same sample.
    """
    breaks_BT = torch.ones_like(position_ids_BT, dtype=torch.bool)
    breaks_BT[:, 1:] = position_ids_BT[:, 1:] != position_ids_BT[:, :-1] + 1
    return breaks_BT.cumsum(dim=1)


def shifted_labels(
    labels_BT: Tensor, segments_BT: Tensor, shift: int, reference_boundaries: bool = False
) -> Tensor:
    """For each position the label ``shift`` tokens later, if that is still the same sample.

    Args:
        labels_BT: not shifted, ``IGNORED`` where nothing is to be learned.
        segments_BT: of :func:`segments_of`.
        shift: 1 for the backbone, k + 2 for module k.
        reference_boundaries: let labels cross boundaries as upstream's do. Upstream drops the first shift-1 tokens of
            each sample and shifts what is left by one, as if it were one sample. So the last position that a sample
            has left is given the first label left of the next sample that has any.

    Returns:
        Labels of shape (B, T), ``IGNORED`` where there is none.
    """
    targets_BT = torch.full_like(labels_BT, IGNORED)
    if shift < labels_BT.shape[1]:
        same_sample = segments_BT[:, shift:] == segments_BT[:, :-shift]
        targets_BT[:, :-shift] = torch.where(same_sample, labels_BT[:, shift:], IGNORED)
    if reference_boundaries:
        for targets_T, labels_T, segments_T in zip(targets_BT, labels_BT, segments_BT, strict=True):
            lengths_S = torch.unique_consecutive(segments_T, return_counts=True)[1]
            ends_S = lengths_S.cumsum(0)[lengths_S >= shift]
            starts_S = ends_S - lengths_S[lengths_S >= shift]
            targets_T[ends_S[:-1] - shift] = labels_T[starts_S[1:] + shift - 1]
    return targets_BT
