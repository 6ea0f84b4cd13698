"""Which samples share a row, and the arrays of a row: pure functions, the same for the same seed.

Of a sample no object is held: a mixture may have many millions.

Shapes: T tokens of a row (``sequence_length``), R rows.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_jobs.leveling import level
from training_jobs.rows import IGNORED
from validation.errors import UserError

# Samples longer than this share of a row are packed first, longest first; see pack_best_fit.
_LONG_SHARE = 0.25


@dataclass(frozen=True)
class Sample:
    """One encoded row: ids and labels, equally long."""

    name: str
    source: tuple[str, str]  # (corpus, task)
    input_ids: NDArray[np.int32]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True)
class Packed:
    """Which samples each row holds, in their order there.

    Attributes:
        members: Indices of samples, row after row.
        starts: Where each row begins in them, and behind the last one their number.
    """

    members: NDArray[np.int64]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[list[int]]:
        for start, end in pairwise(self.starts.tolist()):
            yield self.members[start:end].tolist()


def pack_best_fit(
    lengths: Sequence[int] | NDArray[np.integer[Any]],
    sources: Sequence[Hashable] | NDArray[np.integer[Any]],
    capacity: int,
    rng: np.random.Generator,
    filled_alike: bool = True,
) -> Packed:
    """Which samples share a row, by best fit: a sample goes to the fullest row that still holds it, and in the end the
    rows are filled alike (:mod:`training_jobs.leveling`).

    Long samples go first and in decreasing order, as in best-fit-decreasing. The short ones, which fill any gap
    well enough, come in random order with the sources dealt out evenly, so that a row is a small copy of the
    mixture: sorted by length, each row would hold one task, and the gradient would swing with it.

    Args:
        lengths: Tokens of each sample.
        sources: Where each sample comes from: corpus and task, say.
        capacity: Tokens of a row.
        rng: Decides the order of the samples.
        filled_alike: ``False`` leaves the rows as best fit makes them, to compare with.

    Raises:
        UserError: if a sample is longer than ``capacity``.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    if sizes.size and sizes.max() > capacity:
        raise UserError(f"a sample of {sizes.max()} tokens does not fit in a row of {capacity}")
    order = _dealt_evenly(sources, rng)
    is_long = sizes[order] > capacity * _LONG_SHARE
    long, short = order[is_long], order[~is_long]
    placed = np.concatenate([long[np.argsort(-sizes[long], kind="stable")], short])
    row_of = _best_fit(sizes[placed], capacity)
    if filled_alike:
        level(row_of, sizes[placed], _numbers_of(sources)[placed], capacity)
    by_row = np.argsort(row_of, kind="stable")
    members = placed[by_row]
    starts = np.concatenate([[0], np.cumsum(np.bincount(row_of))]).astype(np.int64)
    for start, end in pairwise(starts.tolist()):
        # Long samples would otherwise always stand first, at the positions seen most.
        row = members[start:end].tolist()
        rng.shuffle(row)
        members[start:end] = row
    return Packed(members, starts)


def _best_fit(sizes: NDArray[np.int64], capacity: int) -> NDArray[np.int64]:
    """The row of each sample, in their order; of rows that are equally full it is the one that was opened first."""
    row_of = np.empty(len(sizes), dtype=np.int64)
    rooms: list[int] = []  # tokens that some row has left, ascending
    rows_with: dict[int, list[int]] = {}  # by the tokens that they have left: a heap of rows
    opened = 0
    for index, size in enumerate(sizes):
        length = int(size)
        place = bisect.bisect_left(rooms, length)
        if place == len(rooms):
            row, left = opened, capacity - length
            opened += 1
        else:
            room = rooms[place]
            row, left = heapq.heappop(rows_with[room]), room - length
            if not rows_with[room]:
                del rows_with[room], rooms[place]
        row_of[index] = row
        if left not in rows_with:
            rows_with[left] = []
            bisect.insort(rooms, left)
        heapq.heappush(rows_with[left], row)
    return row_of


def _dealt_evenly(
    sources: Sequence[Hashable] | NDArray[np.integer[Any]], rng: np.random.Generator
) -> NDArray[np.int64]:
    """All indices in random order, each source's spread evenly over it."""
    of_source = _numbers_of(sources)
    places = np.empty(len(of_source))
    dealt = np.empty(len(of_source), dtype=np.int64)
    end = 0
    for source in range(int(of_source.max(initial=-1)) + 1):
        indices = np.flatnonzero(of_source == source)
        start, end = end, end + len(indices)
        places[start:end] = (np.arange(len(indices)) + rng.random(len(indices))) / len(indices)
        dealt[start:end] = rng.permutation(indices)
    order: NDArray[np.int64] = dealt[np.lexsort((dealt, places))]
    return order


def _numbers_of(sources: Sequence[Hashable] | NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The sources as numbers, in the order in which they first come."""
    if isinstance(sources, np.ndarray):
        _, first, of_source = np.unique(sources, return_index=True, return_inverse=True)
        by_appearance = np.empty(len(first), dtype=np.int64)
        by_appearance[np.argsort(first)] = np.arange(len(first))
        numbers: NDArray[np.int64] = by_appearance[of_source]
        return numbers
    number = {source: index for index, source in enumerate(dict.fromkeys(sources))}
    return np.array([number[source] for source in sources], dtype=np.int64)


@dataclass(frozen=True)
class PackedRow:
    """One row's T token ids, and which of them are learnt; what is behind ``tokens`` is padding."""

    input_ids_T: NDArray[np.int32]
    is_learnt_T: NDArray[np.bool_]
    tokens: int


def fill_row(samples: Sequence[Sample], sequence_length: int, padding_id: int) -> PackedRow:
    """Lay samples one after another; no label looks across a boundary.

    The first token of a sample has no label: it would be predicted from the sample before.
    """
    input_ids_T = np.full(sequence_length, padding_id, dtype=np.int32)
    is_learnt_T = np.zeros(sequence_length, dtype=np.bool_)
    start = 0
    for sample in samples:
        end = start + len(sample)
        is_learnt = sample.labels != IGNORED
        assert np.array_equal(sample.labels[is_learnt], sample.input_ids[is_learnt]), sample.name
        input_ids_T[start:end] = sample.input_ids
        is_learnt_T[start + 1 : end] = is_learnt[1:]
        start = end
    return PackedRow(input_ids_T, is_learnt_T, tokens=start)


def positions_of(sizes: NDArray[np.integer[Any]], sequence_length: int) -> NDArray[np.int64]:
    """Position ids of a row of samples of these sizes: they restart with each, and with the padding at the end."""
    tokens = int(sizes.sum())
    spans = np.append(sizes, sequence_length - tokens).astype(np.int64)
    starts = np.cumsum(spans) - spans
    positions_T: NDArray[np.int64] = np.arange(sequence_length) - np.repeat(starts, spans)
    return positions_T
