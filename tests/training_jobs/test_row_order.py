"""The order of rows: each once per epoch, found at once at any place, and the same for any number of ranks."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training_jobs.row_order import RowOrder

counts = st.integers(1, 3_000)
SEED, LENGTH = 42, 2_048
FIRST = (22, 76, 32, 31, 9, 19, 26, 71)
DIGEST = "6cce24b2194b8b6fe83a87e9ebadd3e547a551a1998a03c198ca23568bb60f1c"


def order_of(count: int, seed: int = SEED, digest: str = "d", length: int = LENGTH) -> RowOrder:
    return RowOrder(count, digest, seed, length)


@settings(deadline=None)
@given(counts, st.integers(0, 5), st.integers(0, 2**32))
def test_every_row_comes_once_in_each_epoch(count: int, epoch: int, seed: int) -> None:
    assert sorted(order_of(count, seed).rows(epoch * count, count)) == list(range(count))


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(0, 100), st.integers(1, 12))
def test_rows_from_any_place_are_those_of_the_single_places_across_epochs(
    count: int, first: int, number: int
) -> None:
    order = order_of(count)
    assert order.rows(first, number) == tuple(order.row(place) for place in range(first, first + number))


def test_data_seed_length_and_epoch_each_give_another_order() -> None:
    orders = [
        order_of(1_000),
        order_of(1_000, seed=SEED + 1),
        order_of(1_000, digest="e"),
        order_of(1_000, length=LENGTH + 1),
    ]
    digests = [*(order.digest() for order in orders), orders[0].digest(epoch=1)]
    assert len(set(digests)) == len(digests)


def test_the_order_is_the_same_on_every_machine_and_in_every_version() -> None:
    """Taken when it was written: a stage that is resumed after an update goes on with the same rows."""
    assert order_of(100).rows(0, 8) == FIRST
    assert order_of(100_000).digest() == DIGEST


def test_places_say_nothing_of_rows() -> None:
    """Neighbours are no neighbours, and a step's rows come from all over the pack."""
    count = 50_000
    rows = np.array(order_of(count).rows(0, count))
    # Of independent uniform numbers the correlation's standard deviation is 1 / sqrt(n).
    assert abs(np.corrcoef(np.arange(count), rows)[0, 1]) < 4 / math.sqrt(count)
    assert abs(np.corrcoef(rows[:-1], rows[1:])[0, 1]) < 4 / math.sqrt(count)
    steps = rows[: count // 128 * 128].reshape(-1, 128)
    assert np.abs(steps.mean(axis=1) / count - 0.5).max() < 5 * math.sqrt(1 / 12 / 128)


def test_small_packs_come_in_many_orders() -> None:
    seen = {order_of(4, seed).rows(0, 4) for seed in range(250)}
    assert len(seen) == math.factorial(4)


@pytest.mark.parametrize("step", [0, 10**6])
def test_a_late_step_is_found_as_fast_as_the_first(step: int) -> None:
    order = order_of(4_400_000)
    taken = []
    for _ in range(10):
        started = time.process_time()
        order.rows(step * 128, 16)
        taken.append(time.process_time() - started)
    assert min(taken) < 0.02, "a permutation of as many rows takes a multiple"
