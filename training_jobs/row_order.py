"""The order in which the rows of a pack are seen: a keyed bijection, so that any place of it is found at once.

Nothing is shuffled and nothing is stored: row number ``place`` of an epoch is computed from its number alone, in the
same time for the first place and for the last one of the hundredth epoch, and by nothing that a library may change.

It is a Feistel network over pairs of halves of a number's bits (a bijection whatever its rounds do), walked along until
it comes to a number below the count, which leaves a bijection of those (Black and Rogaway, "Ciphers with arbitrary
finite domains", 2002). Its rounds mix by splitmix64's finaliser (Steele, Lea and Flood, 2014) under keys from SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import struct

import numpy as np
from numpy.typing import NDArray

METHOD = "feistel-8/splitmix64"  # another method is another order: the packs' recipe goes up with it
_ROUNDS = 8  # four are enough where halves are wide; packs of a few rows have halves of two bits
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)


class RowOrder:
    """Every row of ``count`` once per epoch, in an order of its own in each.

    Args:
        count: Rows, at least one.
        data_digest: Of what was packed.
        seed: Of the order.
        sequence_length: Tokens of a row.
    """

    def __init__(self, count: int, data_digest: str, seed: int, sequence_length: int) -> None:
        assert count > 0, count
        self.count = count
        self._key = json.dumps([METHOD, data_digest, seed, sequence_length]).encode()
        # Halves are equally wide, and hold four times the count at most: a walk takes less than four steps on average.
        self._half = np.uint64(max(1, ((count - 1).bit_length() + 1) // 2))
        self._mask = (np.uint64(1) << self._half) - np.uint64(1)

    def row(self, place: int) -> int:
        """The row at a place, counted over all epochs."""
        return self.rows(place, 1)[0]

    def rows(self, first: int, number: int) -> tuple[int, ...]:
        """The rows at ``number`` places from ``first`` on; they may lie in several epochs."""
        found: list[int] = []
        while len(found) < number:
            epoch, start = divmod(first + len(found), self.count)
            stop = min(self.count, start + number - len(found))
            found += self.places(epoch, np.arange(start, stop, dtype=np.uint64)).tolist()
        return tuple(found)

    def digest(self, epoch: int = 0) -> str:
        """SHA-256 of a whole epoch's rows, as 64-bit numbers: what a plan says of its order."""
        hashed = hashlib.sha256()
        for start in range(0, self.count, 1 << 16):
            stop = min(self.count, start + (1 << 16))
            rows = self.places(epoch, np.arange(start, stop, dtype=np.uint64))
            hashed.update(rows.astype("<u8").tobytes())
        return hashed.hexdigest()

    def places(self, epoch: int, places: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The rows at these places of one epoch."""
        keys = self._round_keys(epoch)
        rows = self._permuted(places, keys)
        while (outside := np.flatnonzero(rows >= self.count)).size:
            rows[outside] = self._permuted(rows[outside], keys)
        return rows

    def _round_keys(self, epoch: int) -> list[np.uint64]:
        keys = []
        for number in range(_ROUNDS):
            digest = hashlib.sha256(self._key + struct.pack("<QQ", epoch, number)).digest()
            keys.append(np.uint64(int.from_bytes(digest[:8], "little")))
        return keys

    def _permuted(self, numbers: NDArray[np.uint64], keys: list[np.uint64]) -> NDArray[np.uint64]:
        left, right = numbers >> self._half, numbers & self._mask
        for key in keys:
            left, right = right, left ^ (_mixed(right + key) & self._mask)
        joined: NDArray[np.uint64] = (left << self._half) | right
        return joined


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Splitmix64's finaliser; products and sums wrap, as they do there."""
    numbers = (numbers ^ (numbers >> _SHIFT_1)) * _FIRST
    numbers = (numbers ^ (numbers >> _SHIFT_2)) * _SECOND
    mixed: NDArray[np.uint64] = numbers ^ (numbers >> _SHIFT_3)
    return mixed
