"""Losses of micro batches, and their means over micro batches and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training_jobs.history import Losses


def losses_of(output: Any) -> Losses:
    """The losses of a model's output, read from the device together: each read waits for it."""
    parts = [output.loss]
    has_backbone = output.backbone_loss is not None
    parts += [output.backbone_loss] if has_backbone else []
    parts += output.module_losses
    values: list[float] = torch.stack([part.detach().float() for part in parts]).tolist()
    return Losses.from_list(values, has_backbone=has_backbone)


class LossSums:
    """Sums of losses over one rank's micro batches; :meth:`means` turns their means over the ranks into losses.

    A micro batch without a label for the backbone or a module has no loss there, and the model says zero: it is left
    out.
    """

    def __init__(self) -> None:
        self._sums: NDArray[np.float64] = np.zeros(0)
        self._counts: NDArray[np.float64] = np.zeros(0)
        self.has_backbone = False

    def add(self, losses: Losses, label_losses: Sequence[Tensor], weight: float = 1.0) -> None:
        """Add one micro batch; one of weight 0 counts for nothing.

        Args:
            losses: Of the micro batch.
            label_losses: Those of its labels, of the backbone if it has a loss and of each module.
            weight: How often it counts.
        """
        self.has_backbone = losses.backbone_loss is not None
        counts = np.array([1.0, *(float(len(one) > 0) for one in label_losses)])
        values = np.array(losses.to_list())
        if not len(self._sums):
            self._sums, self._counts = np.zeros_like(values), np.zeros_like(values)
        self._sums += values * weight
        self._counts += counts * weight

    def to_list(self) -> list[float]:
        """Sums, then counts: to be averaged over the ranks."""
        return [*self._sums.tolist(), *self._counts.tolist()]

    def means(self, values: Sequence[float]) -> Losses:
        """The losses that follow from :meth:`to_list`'s means over the ranks."""
        sums, counts = np.split(np.array(values), 2)
        return Losses.from_list((sums / np.maximum(counts, np.finfo(float).tiny)).tolist(), self.has_backbone)
