"""Losses over the same packed rows before a stage's first step and after its last one.

A step's own loss says as much about the rows it happened to draw (a row of digits, a row of audiobooks) as about
the model; only over the same rows do a first and a last loss compare.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from training_jobs.batches import PackedRows
from training_jobs.distributed import World
from training_jobs.history import Losses
from training_jobs.loss_means import LossSums, losses_of
from training_jobs.step import forward

PROBE_ROWS = 8  # of all ranks together


@torch.no_grad()
def probe_losses(engine: Any, rows: PackedRows, world: World) -> Losses:
    """Means over the probe's rows, without an update; called on all ranks, which get the same answer."""
    sums = LossSums()
    engine.eval()
    try:
        for row, weight in _rows_of(rows.count, world):
            output = forward(engine, rows.read((row,)), world)
            sums.add(losses_of(output), output.label_losses, weight)
    finally:
        engine.train()
    return sums.means(world.mean(sums.to_list()))


def _rows_of(count: int, world: World) -> list[tuple[int, float]]:
    """This rank's rows of a pack of ``count``, and their weights.

    Evenly spaced, for a pack's rows are sorted by how they came to be packed, and the same ones for any number of
    ranks. A rank that has fewer of them than another reads its last row, or the pack's first, again for nothing: under
    ZeRO 3 every forward pass needs all ranks.
    """
    spaced = [int(row) for row in np.linspace(0, count - 1, PROBE_ROWS)]
    own = [(row, 1.0) for row in spaced[world.rank :: world.size]]
    passes = -(-PROBE_ROWS // world.size)
    return own + [(own[-1][0] if own else 0, 0.0)] * (passes - len(own))
