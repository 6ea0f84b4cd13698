"""Which packed rows a step has, and which of them a rank: pure functions of (seed, step), so that a resumed run sees
the same, also on another number of ranks.

Shapes: B rows of a micro batch, T tokens of a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training_jobs.plan import ARRAYS, ROW_TOKENS_FILE, names_of_rows, read_plan


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
        self._seed = seed
        self._batch_rows = batch_rows

    def rows_of_step(self, step: int) -> tuple[int, ...]:
        """Numbers of the packed rows of a step; every row is seen once before any is seen again."""
        places = [divmod(step * self._batch_rows + offset, self.count) for offset in range(self._batch_rows)]
        return tuple(int(_order(self.count, self._seed, epoch)[place]) for epoch, place in places)

    def rows_of(self, step: int, rank: int, micro: int, world: int, micro_batch: int) -> tuple[int, ...]:
        """Those of them that are ``rank``'s of ``world`` in forward pass ``micro`` of ``micro_batch`` rows."""
        first = (micro * world + rank) * micro_batch
        return self.rows_of_step(step)[first : first + micro_batch]

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


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(count)
