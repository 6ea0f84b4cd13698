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

PROBE_ROWS = 8  # of all ranks together, or one per rank where there are more ranks


@torch.no_grad()
def probe_losses(engine: Any, rows: PackedRows, world: World) -> Losses:
    """Means over the probe's rows, without an update; called on all ranks, which get the same answer."""
    sums = LossSums()
    engine.eval()
    try:
        for row in _rows_of(rows, world):
            batch = rows.read((row,))
            sums.add(losses_of(forward(engine, batch, world)), batch)
    finally:
        engine.train()
    return sums.means(world.mean(sums.to_list()))


def _rows_of(rows: PackedRows, world: World) -> list[int]:
    """This rank's rows: evenly spaced over the pack, whose rows are sorted by how they came to be packed."""
    per_rank = max(1, PROBE_ROWS // world.size)
    spaced = np.linspace(0, rows.count - 1, per_rank * world.size)
    return [int(row) for row in spaced[world.rank :: world.size]]
