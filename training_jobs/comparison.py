"""One figure of candidate and champion side by side: the difference, its interval, and what it may be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["rate", "time", "speed"]


@dataclass(frozen=True)
class Comparison:
    """A figure of both models.

    Attributes:
        name: ``<mode>/<figure>``, as among a version's metrics.
        kind: a share (``rate``), for which less is better if it counts errors; milliseconds; or tokens per second.
        candidate, champion: the figure of each.
        difference: candidate less champion; of times and speeds as a share of the champion's.
        low, high: ends of the difference's 95 % interval.
        limit: what the difference may be; above 0 where more is worse, below 0 where less is.
        more_is_worse: for error rates and times.
        undecided: the interval holds the limit although no more was to be measured: then the difference decides.
        basis: what it was taken on, in words, such as ``100 rows``.
    """

    name: str
    kind: Kind
    candidate: float
    champion: float
    difference: float
    low: float
    high: float
    limit: float
    more_is_worse: bool
    basis: str
    undecided: bool = False

    @property
    def held(self) -> bool:
        """Whether the candidate is not worse than may be: not all of the interval is beyond the limit."""
        if not all(map(math.isfinite, (self.difference, self.low, self.high))):
            return False
        best = self.difference if self.undecided else self.low if self.more_is_worse else self.high
        return best <= self.limit if self.more_is_worse else best >= self.limit

    def words(self) -> str:
        """The rule with all its numbers."""
        beyond = "above" if self.more_is_worse else "below"
        rule = (
            f"the interval still holds the limit, so the difference decides: it fails {beyond} {self._of(self.limit)}"
            if self.undecided
            else f"it fails where all of the interval is {beyond} {self._of(self.limit)}"
        )
        return (
            f"{self.name} {self._figure(self.candidate)}, champion {self._figure(self.champion)}: difference "
            f"{self._of(self.difference)}, 95 % interval {self._of(self.low)} to {self._of(self.high)} "
            f"({self.basis}); {rule}"
        )

    def record(self) -> dict[str, Any]:
        """For ``result.json``."""
        return {
            "candidate": self.candidate,
            "champion": self.champion,
            "difference": self.difference,
            "interval": [self.low, self.high],
            "limit": self.limit,
            "relative": self.kind != "rate",
            "undecided": self.undecided,
            "basis": self.basis,
            "held": self.held,
        }

    def cells(self) -> list[str]:
        """For a table."""
        return [
            self.name,
            self._figure(self.candidate),
            self._figure(self.champion),
            self._of(self.difference),
            f"{self._of(self.low)} to {self._of(self.high)}",
            f"{'≤' if self.more_is_worse else '≥'} {self._of(self.limit)}",
            self.basis,
            "held" if self.held else "**failed**",
        ]

    def _figure(self, value: float) -> str:
        return f"{value:.4f}" if self.kind == "rate" else f"{value:.2f}"

    def _of(self, difference: float) -> str:
        return f"{difference:+.4f}" if self.kind == "rate" else f"{difference:+.1%}"


def comparisons_markdown(comparisons: Sequence[Comparison]) -> str:
    """A line per figure."""
    head = ["figure", "candidate", "champion", "difference", "95 % interval", "allowed", "of", ""]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * 5 + "---|---|"]
    return "\n".join([*lines, *("| " + " | ".join(one.cells()) + " |" for one in comparisons)])
