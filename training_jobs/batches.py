"""Which packed rows a step has, and which of them a rank: pure functions of (seed, step), so that a resumed run sees
the same, also on another number of ranks.

Shapes: B rows of a micro batch, T tokens of a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training_jobs.plan import ARRAYS, ROW_TOKENS_FILE, names_of_rows, read_plan
from training_jobs.row_order import RowOrder


@dataclass(frozen=True)
class Batch:
    """One micro batch on the CPU; ``rows`` are numbers of packed rows."""

    rows: tuple[int, ...]
    input_ids_BT: Tensor
    labels_BT: Tensor
    position_ids_BT: Tensor
    tokens: int


class PackedRows:
    """A finished pack of ``count`` rows, read through memory maps.

    Args:
        packs_dir: Where program ``pack`` wrote.
        seed: Of the order of the rows.
        batch_rows: Rows of a step, of all ranks together.
    """

    def __init__(self, packs_dir: Path, seed: int, batch_rows: int) -> None:
        self.plan = read_plan(packs_dir)
        self._packs_dir = packs_dir
        self._row_tokens = np.load(packs_dir / ROW_TOKENS_FILE, mmap_mode="r")
        self._arrays = [np.load(packs_dir / f"{name}.npy", mmap_mode="r") for name in ARRAYS]
        self.count = len(self._arrays[0])
        self.order = RowOrder(self.count, self.plan["data_digest"], seed, self.plan["sequence_length"])
        self._batch_rows = batch_rows

    def rows_of_step(self, step: int) -> tuple[int, ...]:
        """Numbers of the packed rows of a step; every row is seen once before any is seen again."""
        return self.order.rows(step * self._batch_rows, self._batch_rows)

    def rows_of(self, step: int, rank: int, micro: int, world: int, micro_batch: int) -> tuple[int, ...]:
        """Those of them that are ``rank``'s of ``world`` in forward pass ``micro`` of ``micro_batch`` rows."""
        first = (micro * world + rank) * micro_batch
        assert first + micro_batch <= self._batch_rows, (rank, micro, world, micro_batch)
        return self.order.rows(step * self._batch_rows + first, micro_batch)

    def read(self, rows: tuple[int, ...]) -> Batch:
        """A batch of the packed rows of these numbers."""
        input_ids_BT, labels_BT, position_ids_BT = (
            torch.from_numpy(array[list(rows)].astype(np.int64)) for array in self._arrays
        )
        tokens = sum(int(self._row_tokens[row]) for row in rows)
        return Batch(rows, input_ids_BT, labels_BT, position_ids_BT, tokens)

    def sample_names(self, rows: tuple[int, ...]) -> list[str]:
        """Names (``corpus/row_id``) of the samples in the rows."""
        names = names_of_rows(self._packs_dir, sorted(set(rows)))
        return [name for row in rows for name in names[row]]
