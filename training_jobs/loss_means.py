"""Losses of micro batches, and their means over micro batches and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.packing import segments_of, shifted_labels
from training_jobs.batches import Batch
from training_jobs.history import Losses
from training_jobs.rows import IGNORED


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

    A micro batch without a label for a module has no loss there, and the model says zero: it is left out.
    """

    def __init__(self) -> None:
        self._sums: NDArray[np.float64] = np.zeros(0)
        self._counts: NDArray[np.float64] = np.zeros(0)
        self.has_backbone = False

    def add(self, losses: Losses, batch: Batch, weight: float = 1.0) -> None:
        """Add one micro batch; one of weight 0 counts for nothing."""
        self.has_backbone = losses.backbone_loss is not None
        segments_BT = segments_of(batch.position_ids_BT)
        labelled = [
            bool((shifted_labels(batch.labels_BT, segments_BT, module + 2) != IGNORED).any())
            for module in range(len(losses.module_losses))
        ]
        counts = np.array([1.0] * (1 + self.has_backbone) + [float(any_label) for any_label in labelled])
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
