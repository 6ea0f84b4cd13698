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

PROBE_ROWS = 8  # of all ranks together, or one per rank where there are more ranks


def probe_losses(engine: Any, rows: PackedRows, world: World) -> Losses:
    """Means over the probe's rows, without an update; called on all ranks, which get the same answer."""
    engine.eval()
    try:
        measured = [losses_of(_forward(engine, rows, world, row)) for row in _rows_of(rows, world)]
    finally:
        engine.train()
    values = world.mean(np.mean([one.to_list() for one in measured], axis=0).tolist())
    return Losses.from_list(values, has_backbone=measured[0].backbone_loss is not None)


def losses_of(output: Any) -> Losses:
    """The losses of a model's output, read from the device together: each read waits for it."""
    parts = [output.loss]
    has_backbone = output.backbone_loss is not None
    parts += [output.backbone_loss] if has_backbone else []
    parts += output.module_losses
    values: list[float] = torch.stack([part.detach().float() for part in parts]).tolist()
    return Losses.from_list(values, has_backbone=has_backbone)


def _rows_of(rows: PackedRows, world: World) -> list[int]:
    """This rank's rows: evenly spaced over the pack, whose rows are sorted by how they came to be packed."""
    per_rank = max(1, PROBE_ROWS // world.size)
    spaced = np.linspace(0, rows.count - 1, per_rank * world.size)
    return [int(row) for row in spaced[world.rank :: world.size]]


@torch.no_grad()
def _forward(engine: Any, rows: PackedRows, world: World, row: int) -> Any:
    batch = rows.read((row,))
    return engine(
        input_ids=batch.input_ids_BT.to(world.device),
        labels=batch.labels_BT.to(world.device),
        position_ids=batch.position_ids_BT.to(world.device),
    )
