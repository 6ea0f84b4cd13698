"""Packing: nothing is lost, nothing crosses a boundary, the same seed gives the same rows."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_jobs.drawing import draw
from training_jobs.greedy import pack_greedily
from training_jobs.leveling import level
from training_jobs.packing import Sample, fill_row, pack_best_fit, positions_of

CAPACITY = 64
PADDING = 999
lengths = st.lists(st.integers(1, CAPACITY), min_size=1, max_size=60)
seeds = st.integers(0, 2**32 - 1)


def sources_of(sizes: list[int]) -> list[int]:
    return [size % 3 for size in sizes]


def sample(number: int, length: int) -> Sample:
    ids = np.arange(length, dtype=np.int32) + 100 * number
    return Sample(f"c/{number}", ("c", "asr"), ids, np.where(ids % 3 == 1, -100, ids))


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
    positions_T = positions_of(np.array(sizes), capacity)
    labels_T = np.where(row.is_learnt_T, row.input_ids_T, -100)
    starts = np.cumsum([0, *sizes])
    for one, start, end in zip(samples, starts, starts[1:], strict=False):
        assert row.input_ids_T[start:end].tolist() == one.input_ids.tolist()
        assert positions_T[start:end].tolist() == list(range(len(one)))
        assert labels_T[start] == -100
        assert labels_T[start + 1 : end].tolist() == one.labels[1:].tolist()
    assert row.tokens == sum(sizes)
    assert row.input_ids_T[row.tokens :].tolist() == [PADDING] * 5
    assert positions_T[row.tokens :].tolist() == list(range(5))
    assert set(labels_T[row.tokens :].tolist()) == {-100}


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


REALISTIC = st.lists(st.integers(1, 500), min_size=40, max_size=300)


@given(REALISTIC, seeds)
def test_leveled_rows_hold_the_same_samples_and_no_row_overflows(sizes: list[int], seed: int) -> None:
    rows = list(pack_best_fit(sizes, sources_of(sizes), 1_000, np.random.default_rng(seed)))
    assert sorted(index for row in rows for index in row) == list(range(len(sizes)))
    assert all(0 < sum(sizes[index] for index in row) <= 1_000 for row in rows)


@pytest.mark.parametrize(("capacity", "samples"), [(2_048, 3_000), (2_048, 20_000), (32_768, 20_000)])
def test_every_row_is_filled_to_99_percent_the_last_one_too(capacity: int, samples: int) -> None:
    rng = np.random.default_rng(0)
    sizes = np.clip(rng.lognormal(5.4, 0.7, samples), 20, capacity).astype(np.int64)
    packed = pack_best_fit(sizes, np.arange(samples) % 4, capacity, rng)
    filled = np.add.reduceat(sizes[packed.members], packed.starts[:-1])
    assert sorted(packed.members.tolist()) == list(range(samples))
    assert filled.min() >= 0.99 * capacity
    assert len(packed) <= math.ceil(sizes.sum() / (0.99 * capacity))


def test_samples_change_places_with_their_own_kind() -> None:
    sizes = np.array([600, 400, 500, 460, 600, 395])
    kinds = np.array([0, 1, 0, 1, 0, 1])
    row_of = np.array([0, 0, 1, 1, 2, 2])
    # Rows of 1,000, 960 and 995 tokens: no sample of the second is fewer than 10 shorter than one of its kind.
    level(row_of, sizes, kinds, 1_000)
    assert row_of.tolist() == [0, 0, 1, 1, 2, 2]
    sizes = np.array([600, 400, 595, 393, 600, 400])
    level(row_of, sizes, kinds, 1_000)
    filled = np.bincount(row_of, weights=sizes)
    assert filled.min() >= 990
    assert all(sorted(kinds[row_of == row].tolist()) == [0, 1] for row in range(3))


def test_upstreams_scheme_gives_a_row_out_when_a_sample_does_not_fit_and_loses_the_open_ones() -> None:
    sizes = [60, 30, 50, 60, 40]
    one_file = pack_greedily([(size, 0) for size in sizes], 100)
    # 60 + 30 | 50 | 60 + 40 stays open.
    assert (one_file.rows, one_file.tokens, one_file.lost_tokens, one_file.lost_samples) == (2, 140, 100, 2)
    assert one_file.fill(100) == 0.7
    two_files = pack_greedily(zip(sizes, [0, 1, 0, 1, 0], strict=True), 100)
    assert (two_files.rows, two_files.tokens, two_files.lost_tokens) == (1, 60, 180)
    # 60 | 30: 50 goes to the second, 60 fits into neither: the fuller one, of 80, is given out.
    joint = pack_greedily([(size, 0) for size in sizes], 100, joint=True)
    assert (joint.rows, joint.tokens, joint.lost_tokens) == (1, 80, 160)


@given(lengths, st.booleans())
def test_upstreams_scheme_accounts_for_every_token(sizes: list[int], joint: bool) -> None:
    packed = pack_greedily([(size, size % 3) for size in sizes], CAPACITY, joint)
    assert packed.tokens + packed.lost_tokens == sum(sizes)
    assert packed.tokens <= packed.rows * CAPACITY


def test_rows_that_cannot_be_filled_are_given_up_soon() -> None:
    """32 samples of one length fill a row to 98 %, and the full rows have none to change places with."""
    sizes = np.array([1_000] * 64_000 + [32_768] * 100)
    started = time.process_time()
    packed = pack_best_fit(sizes, np.zeros_like(sizes), 32_768, np.random.default_rng(0))
    assert time.process_time() - started < 10, "each of the rows has been tried"
    assert len(packed) == 2_100
