"""How much of a corpus may be lost before its run fails: shares of the rows read, per outcome and per reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from validation.lake import Lake
from validation.ledger import balance, ledger_counts
from validation.reasons import OUTCOME_OF, Reason
from validation.strict import Strict

_Share = Annotated[float, Field(ge=0, le=1)]
# Not accepted, whatever the outcome.
LOST = "lost"


class Budget(Strict):
    """Shares of the rows read that may end otherwise than accepted; ``None``: no limit of its own.

    The defaults stop what is broken as a whole, such as a disk that is mounted empty or a wrong delimiter; a corpus
    that is known to be good deserves less.

    Attributes:
        lost: All rows that were not accepted. Below 1, a corpus of which nothing was accepted fails, however small.
        reasons: For single reasons.
        at_least: As many rows may always be lost to an outcome or a reason: of a corpus of five rows, one is a fifth.
    """

    lost: _Share = 0.9
    errored: _Share | None = 0.5
    rejected: _Share | None = None
    quarantined: _Share | None = None
    reasons: dict[Reason, _Share] = Field(default_factory=dict)
    at_least: int = Field(default=10, ge=0)


@dataclass(frozen=True, slots=True)
class Overrun:
    """More rows of a corpus lost than its budget allows.

    Attributes:
        what: ``lost``, an outcome or a reason.
        rows: How many ended so, of ``read``.
        limit: The share that is allowed.
    """

    corpus: str
    what: str
    rows: int
    read: int
    limit: float

    @property
    def told(self) -> str:
        """For a person: corpus, reason, share and limit."""
        return (
            f"corpus {self.corpus!r}: {self.what}: {self.rows} of {self.read} rows, {self.rows / self.read:.2%}, "
            f"are above the budget of {self.limit:.2%}"
        )

    @property
    def statement(self) -> str:
        """SQL for the first of the rows: what is told to Dagster stays there for good, and must name none."""
        rows = "outcome <> 'accepted'" if self.what == LOST else f"'{self.what}' IN (outcome, reason)"
        return f"SELECT detail FROM ledger WHERE corpus = '{self.corpus}' AND {rows} LIMIT 20"  # noqa: S608 - told


def overruns(lake: Lake, corpus: str, budget: Budget) -> list[Overrun]:
    """Where the corpus' ledger is above its budget. What was asked to be forgotten is not lost: it does not count.

    Raises:
        UserError: if the corpus has not been read yet.
    """
    of_reason: dict[str, int] = dict(ledger_counts(lake, corpus).select("reason", "rows").iter_rows())
    read = balance(lake, corpus).read - of_reason.pop("forgotten", 0)
    return [
        Overrun(corpus, what, rows, read, limit)
        for what, rows, limit in _asked(of_reason, budget)
        if rows > limit * read and (rows > budget.at_least or (what == LOST and rows == read))
    ]


def _asked(of_reason: Mapping[str, int], budget: Budget) -> Iterator[tuple[str, int, float]]:
    """What the budget limits, how many rows ended so, and the share that is allowed."""
    ends = {reason: (OUTCOME_OF[reason], of_reason.get(reason, 0)) for reason in OUTCOME_OF}
    yield LOST, sum(rows for outcome, rows in ends.values() if outcome != "accepted"), budget.lost
    for outcome in ("errored", "rejected", "quarantined"):
        limit: float | None = getattr(budget, outcome)
        if limit is not None:
            yield outcome, sum(rows for one, rows in ends.values() if one == outcome), limit
    for reason, limit in sorted(budget.reasons.items()):
        yield reason, of_reason.get(reason, 0), limit
