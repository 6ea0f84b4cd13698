"""Rows read ahead of the step that needs them, by a thread of each rank; and how long the step waited all the same."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Protocol

import torch

from training_jobs.batches import Batch, PackedRows

_STEPS_AHEAD = 2

Rows = tuple[int, ...]


class ReadsRows(Protocol):
    """What :class:`training_jobs.batches.PackedRows` does."""

    def read(self, rows: Rows) -> Batch:
        """The rows of these numbers."""


def rows_of_steps(
    rows: PackedRows, steps: range, rank: int, world_size: int, micro_batch: int, accumulation: int
) -> Iterator[list[Rows]]:
    """What one rank sees: for each step the rows of each of its forward passes."""
    for step in steps:
        yield [rows.rows_of(step, rank, micro, world_size, micro_batch) for micro in range(accumulation)]


class Feeder:
    """Gives the micro batches of one step after another; those of the next steps are read meanwhile.

    Where there is a GPU they are in pinned memory, from which a copy to it runs beside what the GPU computes.

    Args:
        rows: Where the rows are read from.
        steps: The rows of each forward pass of each step, in order.
        device: That the batches will be copied to.
    """

    def __init__(self, rows: ReadsRows, steps: Iterator[Sequence[Rows]], device: torch.device) -> None:
        self._rows = rows
        self._steps = steps
        self._is_pinned = device.type == "cuda"
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="feeder")
        self._ahead: deque[Future[list[Batch]]] = deque()
        self.waited_s = 0.0  # in all of next()

    def __enter__(self) -> Feeder:
        for _ in range(_STEPS_AHEAD):
            self._read_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.shutdown(cancel_futures=True)

    def next(self) -> list[Batch]:
        """The micro batches of the next step.

        Raises:
            OSError: if the pack cannot be read.
        """
        assert self._ahead, "there is no step behind the last one"
        started = time.monotonic()
        batches = self._ahead.popleft().result()
        self.waited_s += time.monotonic() - started
        self._read_on()
        return batches

    def _read_on(self) -> None:
        step = next(self._steps, None)
        if step is not None:
            self._ahead.append(self._reader.submit(self._read, step))

    def _read(self, step: Sequence[Rows]) -> list[Batch]:
        batches = [self._rows.read(rows) for rows in step]
        return [batch.pinned() for batch in batches] if self._is_pinned else batches
