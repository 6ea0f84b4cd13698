"""Which rows the probe takes: the same ones on any number of ranks, with as many passes on each."""

from __future__ import annotations

import pytest
import torch

from training_jobs.distributed import World
from training_jobs.probe import PROBE_ROWS, _rows_of


def dealt(count: int, size: int) -> list[list[tuple[int, float]]]:
    return [
        _rows_of(count, World(rank, size, torch.device("cpu"), is_bfloat16=False)) for rank in range(size)
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8, 32])
@pytest.mark.parametrize("count", [1, 5, 1000])
def test_the_rows_that_count_are_the_same_on_any_number_of_ranks(count: int, size: int) -> None:
    by_rank = dealt(count, size)
    counted = sorted(row for rows in by_rank for row, weight in rows if weight)
    assert counted == sorted(row for row, _ in dealt(count, 1)[0])
    assert len(counted) == PROBE_ROWS
    assert len({len(rows) for rows in by_rank}) == 1
    assert {row for rows in by_rank for row, _ in rows} <= set(range(count))
