"""Packing as VITA-Audio's loader does it, to compare with: how full its rows are, and what it loses.

Each open row belongs to one data file, or two rows are open for all files together (``cross_dataset_joint``). A sample
goes to the emptiest of those it may go to; where it does not fit there, the fullest of them is given out, and starts
anew with the sample. What is in open rows when the data end is never given out, in every worker of the loader.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter

_JOINT_ROWS = 2


@dataclass
class Greedy:
    """What came of it, in rows and tokens.

    Attributes:
        rows: Given out.
        tokens: In them.
        lost_tokens: Left in open rows.
        lost_samples: With these tokens.
    """

    rows: int = 0
    tokens: int = 0
    lost_tokens: int = 0
    lost_samples: int = 0

    def fill(self, capacity: int) -> float:
        """Mean share of a row's tokens that are real; 0 where no row was given out."""
        return self.tokens / (self.rows * capacity) if self.rows else 0.0


def pack_greedily(samples: Iterable[tuple[int, int]], capacity: int, joint: bool = False) -> Greedy:
    """Pack samples in their order, by one worker.

    Args:
        samples: Tokens of each, and the number of its file.
        capacity: Tokens of a row, which no sample exceeds: the loader leaves such samples away without a word.
        joint: Pack the files together.
    """
    packed = Greedy()
    # Tokens and samples of each: one per file, or a fixed number.
    open_rows = {number: [0, 0] for number in range(_JOINT_ROWS)} if joint else {}
    for size, file in samples:
        assert size <= capacity, (size, capacity)
        rows = list(open_rows.values()) if joint else [open_rows.setdefault(file, [0, 0])]
        emptiest, fullest = min(rows, key=itemgetter(0)), max(rows, key=itemgetter(0))
        if emptiest[0] + size > capacity:
            packed.rows += 1
            packed.tokens += fullest[0]
            fullest[:] = [size, 1]
        else:
            emptiest[0] += size
            emptiest[1] += 1
    packed.lost_tokens = sum(tokens for tokens, _ in open_rows.values())
    packed.lost_samples = sum(samples for _, samples in open_rows.values())
    return packed
