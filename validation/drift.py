"""Drift: whether a corpus has become another one since the last state of it that was taken for good.

Pure: compares two profiles (assets/report/profiles.py keeps them in the lake), one per state of a corpus.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from validation.scales import SCALE_OF
from validation.strict import Strict

DriftKind = Literal["hours", "median", "reason", "language"]
FEWEST_ROWS = 10  # a median of fewer says too little
_MEDIAN, _LOWER, _UPPER = 2, 1, 3
# What passed, and what somebody decided: no change of the corpus.
_MEANT = ("accepted", "accepted_by_review", "rejected_by_review", "forgotten")


class DriftLimits(Strict):
    """What a corpus may change by from one state to the next.

    Attributes:
        max_hours_loss: Of accepted hours, a share of those before.
        max_median_shift: Of a measure over the accepted rows, in interquartile ranges of the state before.
        max_reason_rise: Of a reason's share of the rows read; 0.05 are five points.
        on_drift: Whether it is told (``warn``), or keeps training rows from being made (``fail``).
    """

    max_hours_loss: float = Field(default=0.1, ge=0, le=1)
    max_median_shift: float = Field(default=0.5, gt=0)
    max_reason_rise: float = Field(default=0.05, ge=0, le=1)
    on_drift: Literal["warn", "fail"] = "warn"


class MeasureProfile(Strict):
    """One measure of the accepted rows: how many have it, and its 5, 25, 50, 75 and 95 % quantiles."""

    rows: int
    quantiles: tuple[float, ...]


class Amount(Strict):
    """Rows, and the hours of those that were decoded."""

    rows: int
    hours: float


class Profile(Strict):
    """One state of a corpus in figures; no names, texts or places of any row.

    Attributes:
        read: All rows.
        outcomes: By outcome.
        splits: Accepted rows by split; likewise ``languages``.
        reasons: By reason.
        measures: By column of ``audio_quality``, over the accepted rows.
        voices: How many speakers of accepted rows are named.
    """

    read: Amount
    outcomes: dict[str, Amount]
    splits: dict[str, Amount]
    languages: dict[str, Amount]
    reasons: dict[str, Amount]
    measures: dict[str, MeasureProfile]
    voices: int

    @property
    def accepted(self) -> Amount:
        """What passed."""
        return self.outcomes.get("accepted", Amount(rows=0, hours=0.0))


@dataclass(frozen=True, slots=True)
class Finding:
    """One way in which a corpus drifted: ``value`` is beyond ``limit``, both in the words of ``detail``."""

    kind: DriftKind
    name: str
    value: float
    limit: float
    detail: str


def find_drift(before: Profile, now: Profile, limits: DriftLimits) -> list[Finding]:
    """Everything by which ``now`` is beyond the limits from ``before``; the hours first."""
    return [
        *_hours(before, now, limits),
        *_languages(before, now),
        *_medians(before, now, limits),
        *_reasons(before, now, limits),
    ]


def median_shift(column: str, before: MeasureProfile, now: MeasureProfile) -> float | None:
    """How far the median moved, in interquartile ranges of the state before; ``None`` where rows are too few.

    Rows that are nearly all alike have no range: then it is the measure's least (:class:`validation.scales.Scale`).
    """
    if min(before.rows, now.rows) < FEWEST_ROWS:
        return None
    spread = before.quantiles[_UPPER] - before.quantiles[_LOWER]
    moved = now.quantiles[_MEDIAN] - before.quantiles[_MEDIAN]
    return moved / max(spread, SCALE_OF[column].spread)


def _hours(before: Profile, now: Profile, limits: DriftLimits) -> Iterator[Finding]:
    had, has = before.accepted, now.accepted
    # A corpus of texts has no hours: its rows stand for them.
    unit, old, new = ("h", had.hours, has.hours) if had.hours else ("rows", float(had.rows), float(has.rows))
    if not old:
        return
    loss = 1 - new / old
    if loss > limits.max_hours_loss:
        detail = (
            f"accepted: {new:,.4g} {unit} after {old:,.4g} {unit}, {loss:.1%} less; "
            f"the limit is {limits.max_hours_loss:.1%}"
        )
        yield Finding("hours", "accepted", loss, limits.max_hours_loss, detail)


def _languages(before: Profile, now: Profile) -> Iterator[Finding]:
    for language, had in sorted(before.languages.items()):
        if had.rows and not now.languages.get(language, Amount(rows=0, hours=0.0)).rows:
            detail = f"language {language!r}: no accepted row is left of {had.rows:,} ({had.hours:,.4g} h)"
            yield Finding("language", language, 0.0, float(had.rows), detail)


def _medians(before: Profile, now: Profile, limits: DriftLimits) -> Iterator[Finding]:
    for column, scale in SCALE_OF.items():
        if column not in before.measures or column not in now.measures:
            continue
        old, new = before.measures[column], now.measures[column]
        shift = median_shift(column, old, new)
        if shift is not None and abs(shift) > limits.max_median_shift:
            first, last = (scale.text(one.quantiles[_MEDIAN]) for one in (old, new))
            detail = (
                f"{scale.label}: median {last} after {first} {scale.unit}".rstrip()
                + f", {abs(shift):.2f} interquartile ranges away; the limit is {limits.max_median_shift:g}"
            )
            yield Finding("median", column, abs(shift), limits.max_median_shift, detail)


def _reasons(before: Profile, now: Profile, limits: DriftLimits) -> Iterator[Finding]:
    for reason, one in sorted(now.reasons.items()):
        if reason in _MEANT:
            continue
        old = before.reasons.get(reason, Amount(rows=0, hours=0.0)).rows / max(before.read.rows, 1)
        new = one.rows / max(now.read.rows, 1)
        if new - old > limits.max_reason_rise:
            detail = (
                f"reason {reason}: {new:.1%} of the rows after {old:.1%}, {100 * (new - old):.1f} points more; "
                f"the limit is {100 * limits.max_reason_rise:g}"
            )
            yield Finding("reason", reason, new - old, limits.max_reason_rise, detail)
