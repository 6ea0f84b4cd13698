"""Which packed rows a step has, and which of them a rank: pure functions of (seed, step), so that a resumed run sees
the same, also on another number of ranks.

Shapes: B rows of a micro batch, T tokens of a row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training_jobs.packing import positions_of
from training_jobs.plan import (
    ARRAYS,
    ROW_SAMPLES_FILE,
    ROW_TOKENS_FILE,
    SAMPLE_TOKENS_FILE,
    names_of_rows,
    read_plan,
)
from training_jobs.row_order import RowOrder
from training_jobs.rows import IGNORED


@dataclass(frozen=True)
class Batch:
    """One micro batch on the CPU.

    Attributes:
        rows: Numbers of packed rows.
        task_of_token_BT: Which of :attr:`PackedRows.tasks` each token is of, int16; -1 of padding.
        tokens: That are no padding.
    """

    rows: tuple[int, ...]
    input_ids_BT: Tensor
    labels_BT: Tensor
    position_ids_BT: Tensor
    task_of_token_BT: Tensor
    tokens: int

    def pinned(self) -> Batch:
        """The same in memory that a GPU reads by itself; the tasks stay where they are."""
        return replace(
            self,
            input_ids_BT=self.input_ids_BT.pin_memory(),
            labels_BT=self.labels_BT.pin_memory(),
            position_ids_BT=self.position_ids_BT.pin_memory(),
        )


class PackedRows:
    """A finished pack of ``count`` rows of samples of ``tasks``, read through memory maps.

    Args:
        packs_dir: Where program ``pack`` wrote.
        seed: Of the order of the rows.
        batch_rows: Rows of a step, of all ranks together.
    """

    def __init__(self, packs_dir: Path, seed: int, batch_rows: int) -> None:
        self.plan = read_plan(packs_dir)
        self._packs_dir = packs_dir
        self._row_tokens = np.load(packs_dir / ROW_TOKENS_FILE, mmap_mode="r")
        self._input_ids, self._is_learnt = (
            np.load(packs_dir / f"{name}.npy", mmap_mode="r") for name in ARRAYS
        )
        self.tasks: tuple[str, ...] = tuple(self.plan["tasks"])
        self._row_samples = np.load(packs_dir / ROW_SAMPLES_FILE, mmap_mode="r")
        self._samples = np.load(packs_dir / SAMPLE_TOKENS_FILE, mmap_mode="r")
        self.count = len(self._row_tokens)
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
        shape = (len(rows), self.plan["sequence_length"])
        input_ids_BT, labels_BT, position_ids_BT = (np.empty(shape, dtype=np.int64) for _ in range(3))
        task_of_token_BT = np.full(shape, -1, dtype=np.int16)
        for place, row in enumerate(rows):
            # A copy of one row lets other threads work meanwhile, also where the row must come from the disk.
            np.copyto(input_ids_BT[place], self._input_ids[row])
            is_learnt_T = np.unpackbits(self._is_learnt[row], count=shape[1]).view(np.bool_)
            labels_BT[place] = np.where(is_learnt_T, input_ids_BT[place], IGNORED)
            sizes, tasks = self._samples[self._row_samples[row] : self._row_samples[row + 1]].T
            position_ids_BT[place] = positions_of(sizes, shape[1])
            task_of_token_BT[place, : self._row_tokens[row]] = np.repeat(tasks, sizes)
        tokens = sum(int(self._row_tokens[row]) for row in rows)
        return Batch(
            rows=rows,
            input_ids_BT=torch.from_numpy(input_ids_BT),
            labels_BT=torch.from_numpy(labels_BT),
            position_ids_BT=torch.from_numpy(position_ids_BT),
            task_of_token_BT=torch.from_numpy(task_of_token_BT),
            tokens=tokens,
        )

    def sample_names(self, rows: tuple[int, ...]) -> list[str]:
        """Names (``corpus/row_id``) of the samples in the rows."""
        names = names_of_rows(self._packs_dir, sorted(set(rows)))
        return [name for row in rows for name in names[row]]
