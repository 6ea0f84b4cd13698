"""Packing: nothing is lost, nothing crosses a boundary, the same seed gives the same rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_jobs.drawing import draw
from training_jobs.packing import Sample, fill_row, pack_best_fit

CAPACITY = 64
PADDING = 999
lengths = st.lists(st.integers(1, CAPACITY), min_size=1, max_size=60)
seeds = st.integers(0, 2**32 - 1)


def sources_of(sizes: list[int]) -> list[int]:
    return [size % 3 for size in sizes]


def sample(number: int, length: int) -> Sample:
    ids = np.arange(length, dtype=np.int32) + 100 * number
    return Sample(f"c/{number}", ("c", "asr"), ids, ids.copy())


@given(lengths, seeds)
def test_every_sample_is_in_exactly_one_row_and_rows_hold_what_fits(sizes: list[int], seed: int) -> None:
    rows = list(pack_best_fit(sizes, sources_of(sizes), CAPACITY, np.random.default_rng(seed)))
    assert sorted(index for row in rows for index in row) == list(range(len(sizes)))
    assert all(0 < sum(sizes[index] for index in row) <= CAPACITY for row in rows)


@given(lengths, seeds)
def test_no_two_rows_would_fit_into_one(sizes: list[int], seed: int) -> None:
    """What best fit promises: a row is opened only if no open one has room, so two half-empty ones never stay."""
    rows = list(pack_best_fit(sizes, sources_of(sizes), CAPACITY, np.random.default_rng(seed)))
    filled = sorted(sum(sizes[index] for index in row) for row in rows)
    assert len(filled) < 2 or filled[0] + filled[1] > CAPACITY


@given(lengths, seeds)
def test_the_same_seed_gives_the_same_rows(sizes: list[int], seed: int) -> None:
    first, second = (
        list(pack_best_fit(sizes, sources_of(sizes), CAPACITY, np.random.default_rng(seed))) for _ in range(2)
    )
    assert first == second


def test_every_row_is_a_small_copy_of_the_mixture() -> None:
    """Sorted by length, each row would hold one task, and a step would see nothing of the others."""
    sizes, sources = [4] * 120 + [8] * 60, ["asr"] * 120 + ["tts"] * 60
    rows = list(pack_best_fit(sizes, sources, CAPACITY, np.random.default_rng(0)))
    shares = [sum(sources[index] == "tts" for index in row) / len(row) for row in rows[:-1]]
    assert all(0.2 < share < 0.5 for share in shares), shares


def test_a_sample_longer_than_a_row_is_refused() -> None:
    with pytest.raises(ValueError, match="a sample of 65 tokens does not fit in a row of 64"):
        pack_best_fit([3, 65], [0, 0], CAPACITY, np.random.default_rng(0))


@given(st.lists(st.integers(1, 20), min_size=1, max_size=10))
def test_positions_restart_and_no_label_looks_across_a_boundary(sizes: list[int]) -> None:
    samples = [sample(number + 1, size) for number, size in enumerate(sizes)]
    capacity = sum(sizes) + 5
    row = fill_row(samples, capacity, PADDING)
    starts = np.cumsum([0, *sizes])
    for one, start, end in zip(samples, starts, starts[1:], strict=False):
        assert row.input_ids_T[start:end].tolist() == one.input_ids.tolist()
        assert row.position_ids_T[start:end].tolist() == list(range(len(one)))
        assert row.labels_T[start] == -100
        assert row.labels_T[start + 1 : end].tolist() == one.labels[1:].tolist()
    assert row.tokens == sum(sizes)
    assert row.input_ids_T[row.tokens :].tolist() == [PADDING] * 5
    assert row.position_ids_T[row.tokens :].tolist() == list(range(5))
    assert set(row.labels_T[row.tokens :].tolist()) == {-100}


@given(st.integers(0, 50), st.floats(0.01, 3.5), seeds)
def test_a_ratio_repeats_whole_passes_and_draws_the_rest_without_repeats(
    count: int, ratio: float, seed: int
) -> None:
    drawn = draw(count, ratio, np.random.default_rng(seed)).tolist()
    times = np.bincount(drawn, minlength=count) if drawn else np.zeros(count, dtype=int)
    assert all(int(ratio) <= seen <= int(ratio) + 1 for seen in times)
    assert abs(len(drawn) - count * ratio) <= 1
    assert bool(drawn) == bool(count)
    assert drawn == draw(count, ratio, np.random.default_rng(seed)).tolist()
