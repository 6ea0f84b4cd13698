"""Rows read ahead: the same batches as without, waiting that is measured, and faults where they are waited for."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch
from stage_runs import make_packs

from training_jobs.batches import Batch, PackedRows
from training_jobs.feeding import Feeder, rows_of_steps

CPU = torch.device("cpu")
STEPS = range(3, 10)


@pytest.fixture
def rows(tmp_path: Path) -> PackedRows:
    return PackedRows(make_packs(tmp_path), seed=1, batch_rows=8)


def test_what_is_read_ahead_is_what_would_have_been_read(rows: PackedRows) -> None:
    taken = list(rows_of_steps(rows, STEPS, rank=1, world_size=2, micro_batch=2, accumulation=2))
    with Feeder(rows, iter(taken), CPU) as feeder:
        found = [feeder.next() for _ in STEPS]
    for step, batches in zip(STEPS, found, strict=True):
        assert [batch.rows for batch in batches] == [rows.rows_of(step, 1, micro, 2, 2) for micro in range(2)]
        for batch in batches:
            again = rows.read(batch.rows)
            for name in ("input_ids_BT", "labels_BT", "position_ids_BT", "task_of_token_BT"):
                assert torch.equal(getattr(batch, name), getattr(again, name))


class Gate:
    """Rows of which reading waits until it is let through."""

    def __init__(self, rows: PackedRows) -> None:
        self._rows = rows
        self.entered, self.open = threading.Semaphore(0), threading.Semaphore(0)

    def read(self, rows: tuple[int, ...]) -> Batch:
        self.entered.release()
        assert self.open.acquire(timeout=60)
        return self._rows.read(rows)


def test_steps_are_read_while_another_is_worked_on(rows: PackedRows) -> None:
    gate = Gate(rows)
    taken = rows_of_steps(rows, STEPS, rank=0, world_size=1, micro_batch=8, accumulation=1)
    with Feeder(gate, taken, CPU) as feeder:
        gate.open.release()
        feeder.next()
        # The first has been given out, and the second is being read though nobody has asked for it.
        for _ in range(2):
            assert gate.entered.acquire(timeout=60)
        gate.open.release(len(STEPS))
        for _ in STEPS[1:]:
            feeder.next()


def test_the_time_that_a_step_waits_is_measured(rows: PackedRows) -> None:
    gate = Gate(rows)
    taken = rows_of_steps(rows, STEPS, rank=0, world_size=1, micro_batch=8, accumulation=1)
    with Feeder(gate, taken, CPU) as feeder:
        # Long beside what reading takes, and what a busy machine may take to come from here to the wait.
        timer = threading.Timer(3.0, gate.open.release)
        timer.start()
        feeder.next()
        assert feeder.waited_s > 1.0
        before = feeder.waited_s
        gate.open.release(len(STEPS))
        for _ in range(len(STEPS) - 1):
            feeder.next()
        assert feeder.waited_s - before < before


def test_a_row_that_cannot_be_read_is_an_error_where_it_is_waited_for(rows: PackedRows) -> None:
    pack = rows

    class Broken:
        def read(self, rows: tuple[int, ...]) -> Batch:
            if 5 in rows:
                raise OSError("the disk is gone")
            return pack.read(rows)

    with Feeder(Broken(), iter([[(1,)], [(5,)], [(2,)]]), CPU) as feeder:
        assert feeder.next()[0].rows == (1,)
        with pytest.raises(OSError, match="the disk is gone"):
            feeder.next()
