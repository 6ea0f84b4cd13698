"""Which samples share a row, and the arrays of a row: pure functions, the same for the same seed.

Shapes: T tokens of a row (``sequence_length``), R rows.
"""

from __future__ import annotations

import bisect
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def draw(count: int, ratio: float, rng: np.random.Generator) -> list[int]:
    """Indices of a source's samples at ``ratio``, once for a whole stage: 2.5 is all of them twice and a random half.

    The part drawn at random is rounded to whole samples; of a source that is not empty at least one is taken.
    """
    whole, part = divmod(ratio, 1)
    indices = list(range(count)) * int(whole)
    drawn = round(count * part)
    if count and not indices:
        drawn = max(1, drawn)
    return indices + sorted(rng.choice(count, size=drawn, replace=False).tolist())


def pack_best_fit(
    lengths: Sequence[int], sources: Sequence[Hashable], capacity: int, rng: np.random.Generator
) -> list[list[int]]:
    """Indices of the samples of each row, by best fit: a sample goes to the fullest row that still holds it.

    Long samples go first and in decreasing order, as in best-fit-decreasing. The short ones, which fill any gap
    well enough, come in random order with the sources dealt out evenly, so that a row is a small copy of the
    mixture: sorted by length, each row would hold one task, and the gradient would swing with it.

    Args:
        lengths: Tokens of each sample.
        sources: Where each sample comes from: corpus and task, say.
        capacity: Tokens of a row.
        rng: Decides the order of the samples.

    Raises:
        UserError: if a sample is longer than ``capacity``.
    """
    if lengths and max(lengths) > capacity:
        raise UserError(f"a sample of {max(lengths)} tokens does not fit in a row of {capacity}")
    order = _dealt_evenly(sources, rng)
    is_long = [lengths[index] > capacity * _LONG_SHARE for index in order]
    long = [index for index, flag in zip(order, is_long, strict=True) if flag]
    short = [index for index, flag in zip(order, is_long, strict=True) if not flag]
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (tokens left, row), ascending
    for index in sorted(long, key=lambda index: -lengths[index]) + short:
        length = lengths[index]
        place = bisect.bisect_left(free, (length, -1))
        if place == len(free):
            rows.append([index])
            left, row = capacity - length, len(rows) - 1
        else:
            left, row = free.pop(place)
            rows[row].append(index)
            left -= length
        bisect.insort(free, (left, row))
    for members in rows:
        # Long samples would otherwise always stand first, at the positions seen most.
        rng.shuffle(members)
    return rows


def _dealt_evenly(sources: Sequence[Hashable], rng: np.random.Generator) -> list[int]:
    """All indices in random order, each source's spread evenly over it."""
    by_source: dict[Hashable, list[int]] = {}
    for index, source in enumerate(sources):
        by_source.setdefault(source, []).append(index)
    places: list[tuple[float, int]] = []
    for indices in by_source.values():
        offsets = (np.arange(len(indices)) + rng.random(len(indices))) / len(indices)
        places += zip(offsets.tolist(), rng.permutation(indices).tolist(), strict=True)
    return [index for _, index in sorted(places)]


@dataclass(frozen=True)
class PackedRow:
    """One row's arrays of T int32 each; padding is a segment of its own at the end."""

    input_ids_T: NDArray[np.int32]
    labels_T: NDArray[np.int32]
    position_ids_T: NDArray[np.int32]
    tokens: int


def fill_row(samples: Sequence[Sample], sequence_length: int, padding_id: int) -> PackedRow:
    """Lay samples one after another; positions restart with each, and no label looks across a boundary.

    The first token of a sample has no label: it would be predicted from the sample before.
    """
    input_ids_T = np.full(sequence_length, padding_id, dtype=np.int32)
    labels_T = np.full(sequence_length, IGNORED, dtype=np.int32)
    position_ids_T = np.zeros(sequence_length, dtype=np.int32)
    start = 0
    for sample in samples:
        end = start + len(sample)
        input_ids_T[start:end] = sample.input_ids
        labels_T[start + 1 : end] = sample.labels[1:]
        position_ids_T[start:end] = np.arange(len(sample))
        start = end
    position_ids_T[start:] = np.arange(sequence_length - start)
    return PackedRow(input_ids_T, labels_T, position_ids_T, tokens=start)
