"""Rows of a pack filled alike: what best fit leaves empty in a few rows is spread over all of them.

Best fit fills rows to the last token on average, but not each: where no short sample is left a row stays as it is, and
the last one holds what remains. Two samples that change places move the difference of their lengths from one row's
empty end to the other's, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

LEAST_FILL = 0.99  # of every row, as far as the samples allow it
_LOOKED_AT = 16  # samples of one length, of which one may be in a row with room for the difference
_GIVE_UP = (
    64  # rows one after another that could not be filled: the others have no more room, or no such samples
)


def level(
    row_of: NDArray[np.int64], sizes: NDArray[np.int64], kinds: NDArray[np.int64], capacity: int
) -> None:
    """Change ``row_of`` until no row has more than 1 % empty, or no two samples can change places for it.

    Samples change places with their own kind first, which leaves each row's share of every kind as it is.

    Args:
        row_of: The row of each sample.
        sizes: Tokens of each sample.
        kinds: Where each sample comes from, as a number.
        capacity: Tokens of a row.
    """
    rows = int(row_of.max(initial=-1)) + 1
    if rows < 2:
        return
    for alike in (kinds, np.zeros_like(kinds)):
        _Level(row_of, sizes, alike, capacity, rows).run()


class _Level:
    def __init__(
        self,
        row_of: NDArray[np.int64],
        sizes: NDArray[np.int64],
        kinds: NDArray[np.int64],
        capacity: int,
        rows: int,
    ) -> None:
        self._empty = capacity - np.bincount(row_of, weights=sizes, minlength=rows).astype(np.int64)
        self._allowed = int(capacity * (1 - LEAST_FILL) + 1e-9)
        # Read and written one by one, a view is twice as fast as the array, and takes no memory of its own.
        self._row_of, self._left = row_of.data, self._empty.data
        self._keys = kinds * (capacity + 1) + sizes
        self._by_row = row_of

    def run(self) -> None:
        """Fill the rows that are too empty, the fullest of them first: so most of them are filled."""
        short = np.flatnonzero(self._empty > self._allowed)
        if not short.size or self._empty.min() >= self._allowed:
            return
        self._index()
        members = self._members_of(short)
        in_vain = 0
        for row in short[np.argsort(self._empty[short], kind="stable")].tolist():
            while self._left[row] > self._allowed and self._fill(row, members):
                pass
            in_vain = in_vain + 1 if self._left[row] > self._allowed else 0
            if in_vain == _GIVE_UP:
                return

    def _index(self) -> None:
        """Samples by kind and length."""
        order = np.argsort(self._keys, kind="stable")
        found, starts = np.unique(self._keys[order], return_index=True)
        ends = np.append(starts[1:], len(order))
        self._alike = order.data
        self._key = self._keys.data
        self._range = dict(zip(found.tolist(), zip(starts.tolist(), ends.tolist(), strict=True), strict=True))
        self._next: dict[int, int] = {}  # where to go on looking among those of a key

    def _members_of(self, short: NDArray[np.int64]) -> dict[int, list[int]]:
        inside = np.flatnonzero(np.isin(self._by_row, short))
        members: dict[int, list[int]] = {row: [] for row in short.tolist()}
        for sample, row in zip(inside.tolist(), self._by_row[inside].tolist(), strict=True):
            members[row].append(sample)
        return members

    def _fill(self, row: int, members: dict[int, list[int]]) -> bool:
        """Let one sample of the row change places with a longer one; whether there was one."""
        for longer in self._differences(self._left[row]):
            for place, sample in enumerate(members[row]):
                other = self._partner(row, self._key[sample] + longer, longer)
                if other is not None:
                    from_row = self._row_of[other]
                    self._row_of[sample], self._row_of[other] = from_row, row
                    self._left[row] -= longer
                    self._left[from_row] += longer
                    members[row][place] = other
                    if from_row in members:
                        members[from_row][members[from_row].index(other)] = sample
                    return True
        return False

    def _differences(self, empty: int) -> Iterator[int]:
        """The least that would do first, and then what helps most."""
        needed, most = empty - self._allowed, min(empty, self._allowed)
        yield from range(needed, most + 1)
        yield from range(min(needed - 1, most), 0, -1)

    def _partner(self, row: int, key: int, longer: int) -> int | None:
        """A sample of this kind and length whose row can be emptier by the difference."""
        start, end = self._range.get(key, (0, 0))
        place = self._next.get(key, start)
        for _ in range(min(end - start, _LOOKED_AT)):
            place = place + 1 if place + 1 < end else start
            other: int = self._alike[place]
            other_row = self._row_of[other]
            if other_row != row and self._left[other_row] + longer <= self._allowed:
                self._next[key] = place
                return other
        self._next[key] = place
        return None
