"""The drift of a corpus as a page shows it: a verdict, both states side by side, and figures over many states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assets.report.charts import Trend, trend
from assets.report.profiles import Comparison, Record, compare
from assets.report.render import hours_text, percent_text
from validation.drift import Amount, DriftLimits, Profile, median_shift
from validation.scales import SCALES, Scale

_MOST_STATES = 30
_POINT = 0.005  # a reason's share that moved by less is not listed


@dataclass(frozen=True, slots=True)
class DriftRow:
    """One figure of both states."""

    figure: str
    before: str
    now: str
    change: str
    limit: str
    is_beyond: bool


@dataclass(frozen=True, slots=True)
class DriftView:
    """What the section on drift shows.

    Attributes:
        before: Number of the state that the last one is compared with; ``None`` for the first.
        states: How many states the trends show.
    """

    short: str
    headline: str
    is_bad: bool
    findings: tuple[str, ...]
    before: int | None
    now: int
    rows: tuple[DriftRow, ...]
    trends: tuple[Trend, ...]
    states: int


def drift_view(comparison: Comparison, records: Sequence[Record], limits: DriftLimits) -> DriftView:
    """The view of the last of ``records``."""
    now, before = comparison.now, comparison.before
    shown = records[-_MOST_STATES:]
    trends = tuple(_trends(shown, _drifted(records, limits))) if len(shown) > 1 else ()
    details = tuple(finding.detail for finding in comparison.findings)
    if before is None:
        words = ("first state", "This is the first state of the corpus: there is nothing to compare it with.")
    elif not details:
        words = ("no drift", f"State {now.number} is within all limits of state {before.number}.")
    elif now.accepted is not None:
        words = (
            "drift, accepted",
            f"State {now.number} has drifted from state {before.number}, and was accepted.",
        )
    else:
        words = (
            "drift",
            f"State {now.number} has drifted from state {before.number}, the last one taken for good.",
        )
    return DriftView(
        short=words[0],
        headline=words[1],
        is_bad=not comparison.passed,
        findings=details,
        before=None if before is None else before.number,
        now=now.number,
        rows=() if before is None else tuple(_rows(before.profile, now.profile, comparison, limits)),
        trends=trends,
        states=len(shown),
    )


def _rows(before: Profile, now: Profile, comparison: Comparison, limits: DriftLimits) -> list[DriftRow]:
    beyond: set[tuple[str, str]] = {(finding.kind, finding.name) for finding in comparison.findings}
    had, has = before.accepted, now.accepted
    loss = f"-{percent_text(limits.max_hours_loss, 1)}"
    rows = [
        DriftRow("rows read", f"{before.read.rows:,}", f"{now.read.rows:,}",
                 _relative(before.read.rows, now.read.rows), "", False),
        DriftRow("rows accepted", f"{had.rows:,}", f"{has.rows:,}", _relative(had.rows, has.rows), "", False),
        DriftRow("accepted", hours_text(had.hours), hours_text(has.hours), _relative(had.hours, has.hours), loss,
                 ("hours", "accepted") in beyond),
    ]  # fmt: skip
    nothing = Amount(rows=0, hours=0.0)
    for name in sorted({*before.languages, *now.languages}):
        old, new = before.languages.get(name, nothing), now.languages.get(name, nothing)
        change = _relative(old.hours, new.hours)
        is_beyond = ("language", name) in beyond
        rows.append(
            DriftRow(
                f"language {name}",
                hours_text(old.hours),
                hours_text(new.hours),
                change,
                "some left",
                is_beyond,
            )
        )
    rows += [row for scale in SCALES if (row := _median_row(scale, before, now, beyond, limits)) is not None]
    for reason in sorted({*before.reasons, *now.reasons} - {"accepted"}):
        shares = [one.reasons.get(reason, nothing).rows / max(one.read.rows, 1) for one in (before, now)]
        if abs(shares[1] - shares[0]) >= _POINT:
            points = f"{100 * (shares[1] - shares[0]):+.1f} points"
            first, last = (percent_text(share, 1) for share in shares)
            limit = f"+{100 * limits.max_reason_rise:g} points"
            rows.append(
                DriftRow(f"reason {reason}", first, last, points, limit, ("reason", reason) in beyond)
            )
    return rows


def _median_row(
    scale: Scale, before: Profile, now: Profile, beyond: set[tuple[str, str]], limits: DriftLimits
) -> DriftRow | None:
    old, new = before.measures.get(scale.column), now.measures.get(scale.column)
    if old is None or new is None:
        return None
    shift = median_shift(scale.column, old, new)
    first, last = (f"{scale.text(one.quantiles[2])} {scale.unit}".rstrip() for one in (old, new))
    return DriftRow(
        f"median {scale.label}",
        first,
        last,
        "too few rows" if shift is None else f"{shift:+.2f} ranges",
        f"±{limits.max_median_shift:g} ranges",
        ("median", scale.column) in beyond,
    )


def _drifted(records: Sequence[Record], limits: DriftLimits) -> frozenset[int]:
    """Numbers of the shown states that were beyond the limits, accepted or not."""
    first = max(len(records) - _MOST_STATES, 0)
    found = (compare(records[: end + 1], limits) for end in range(first, len(records)))
    return frozenset(one.now.number for one in found if one is not None and one.findings)


def _trends(records: Sequence[Record], drifted: frozenset[int]) -> list[Trend]:
    found = [
        _trend(records, drifted, "accepted", lambda profile: profile.accepted.hours, hours_text),
        _trend(
            records,
            drifted,
            "rows accepted, of those read",
            lambda profile: profile.accepted.rows / max(profile.read.rows, 1),
            lambda value: percent_text(value, 1),
        ),
    ]
    for scale in SCALES:
        if scale.is_main and all(scale.column in record.profile.measures for record in records):
            found.append(_median_trend(records, drifted, scale))
    return found


def _median_trend(records: Sequence[Record], drifted: frozenset[int], scale: Scale) -> Trend:
    def median(profile: Profile) -> float:
        return profile.measures[scale.column].quantiles[2]

    def text(value: float) -> str:
        return f"{scale.text(value)} {scale.unit}".rstrip()

    return _trend(records, drifted, f"median {scale.label}", median, text)


def _trend(
    records: Sequence[Record],
    drifted: frozenset[int],
    title: str,
    figure: Callable[[Profile], float],
    text: Callable[[float], str],
) -> Trend:
    figures = [figure(record.profile) for record in records]
    pairs = zip(records, figures, strict=True)
    values = [(record.number, value, record.number in drifted) for record, value in pairs]
    return trend(title, values, [text(value) for value in figures])


def _relative(before: float, now: float) -> str:
    return f"{100 * (now / before - 1):+.1f} %" if before else ""
