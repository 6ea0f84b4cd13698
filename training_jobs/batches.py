"""Which packed rows a rank sees at a step: a pure function of (seed, step, rank), so that a resumed run sees the same.

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
        world_size: Number of ranks that share every step.
        micro_batch: Rows per rank and forward pass.
        accumulation: Forward passes per step.
    """

    def __init__(
        self, packs_dir: Path, seed: int, world_size: int, micro_batch: int, accumulation: int
    ) -> None:
        self.plan = read_plan(packs_dir)
        self._packs_dir = packs_dir
        self._row_tokens = np.load(packs_dir / ROW_TOKENS_FILE, mmap_mode="r")
        self._arrays = [np.load(packs_dir / f"{name}.npy", mmap_mode="r") for name in ARRAYS]
        self.count = len(self._arrays[0])
        self._seed = seed
        self._world_size = world_size
        self._micro_batch = micro_batch
        self._accumulation = accumulation

    def rows_of(self, step: int, rank: int, micro_step: int) -> tuple[int, ...]:
        """Numbers of the packed rows of one micro batch; every row is seen once before any is seen again."""
        first = ((step * self._accumulation + micro_step) * self._world_size + rank) * self._micro_batch
        places = [divmod(first + offset, self.count) for offset in range(self._micro_batch)]
        return tuple(int(_order(self.count, self._seed, epoch)[place]) for epoch, place in places)

    def batch(self, step: int, rank: int, micro_step: int) -> Batch:
        """The micro batch itself."""
        return self.read(self.rows_of(step, rank, micro_step))

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
