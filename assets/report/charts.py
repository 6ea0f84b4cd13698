"""The geometry of the page's charts; the templates draw it. All lengths are in the units of an SVG's view box."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from validation.checks import CHECKS, NOTES
from validation.histograms import Distribution
from validation.scales import Scale
from validation.thresholds import Thresholds

WIDTH, HEIGHT = 360.0, 170.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 352.0, 14.0, 142.0
TREND_WIDTH, TREND_HEIGHT = 360.0, 90.0
_TREND_LEFT, _TREND_RIGHT, _TREND_TOP, _TREND_BOTTOM = 8.0, 352.0, 10.0, 80.0
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold: a line, and the side of it that is not accepted, as a rectangle."""

    at: float
    refused_from: float
    refused_to: float
    text: str
    is_noted_only: bool


@dataclass(frozen=True, slots=True)
class Bin:
    """The place of one bin, and what it holds for a person who points at it."""

    left: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """One measure of two groups of rows, each as shares: ``filled`` as an area, ``outlined`` as a line.

    Attributes:
        title: What is measured, with its unit.
        filled: Path of the first group; empty without rows.
        lines: What stands below the title: a line per group.
    """

    title: str
    filled: str
    outlined: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    limits: tuple[Limit, ...]
    bins: tuple[Bin, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dot:
    """One state of a corpus on a trend."""

    x: float
    y: float
    text: str
    has_drifted: bool


@dataclass(frozen=True, slots=True)
class Trend:
    """One figure over the states of a corpus, from its lowest value to its highest."""

    title: str
    last: str
    lowest: str
    highest: str
    path: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Where the quantiles 5, 25, 50, 75 and 95 % lie on the measure's axis, in hundredths of it."""

    places: tuple[float, ...]
    text: str


def histogram(
    scale: Scale,
    filled: tuple[str, Distribution],
    outlined: tuple[str, Distribution],
    limits: Sequence[Limit] = (),
    of_rows: int | None = None,
) -> Histogram:
    """A measure of two groups.

    Args:
        filled: What the group is called, and its rows; likewise ``outlined``.
        of_rows: What shares are of; each group's own rows unless given.
    """
    groups = [filled, outlined]
    bases = [of_rows if of_rows is not None else group.rows for _, group in groups]
    shares = [
        [count / base if base else 0.0 for count in group.bins]
        for (_, group), base in zip(groups, bases, strict=True)
    ]
    top = _nice_above(max([*shares[0], *shares[1], 0.01]))
    return Histogram(
        title=f"{scale.label} ({scale.unit})" if scale.unit else scale.label,
        filled=_steps(shares[0], top, is_closed=True) if filled[1].rows else "",
        outlined=_steps(shares[1], top, is_closed=False) if outlined[1].rows else "",
        x_ticks=tuple(_x_ticks(scale)),
        y_ticks=tuple(Tick(_y(part * top, top), f"{100 * part * top:g} %") for part in (0.0, 0.5, 1.0)),
        limits=tuple(limits),
        bins=tuple(_bins(scale, groups)),
        lines=tuple(_line(scale, name, group) for name, group in groups),
    )


def limits_of(scale: Scale, thresholds: Thresholds, languages: Sequence[str]) -> list[Limit]:
    """The thresholds on a measure, those of each of the languages where they differ."""
    found: dict[tuple[str, float, bool], Limit] = {}
    for is_noted_only, checks in ((False, CHECKS), (True, NOTES)):
        for check in checks:
            if check.column != scale.column:
                continue
            for language in [*languages] or ["default"]:
                value = thresholds.limit(check.threshold, language)
                for signed in (value, -value) if check.is_absolute else (value,):
                    below = check.side == "min" or (check.is_absolute and signed < 0)
                    found.setdefault(
                        (check.threshold, signed, is_noted_only),
                        _limit(scale, check.threshold, signed, below, is_noted_only),
                    )
    return sorted(found.values(), key=lambda limit: limit.at)


def trend(title: str, values: Sequence[tuple[int, float, bool]], texts: Sequence[str]) -> Trend:
    """A figure over states.

    Args:
        values: Number of each state, the figure, and whether the state had drifted.
        texts: The figure of each, for a person.
    """
    figures = [value for _, value, _ in values]
    low, high = min(figures), max(figures)
    span = high - low
    dots = []
    for place, ((number, value, has_drifted), text) in enumerate(zip(values, texts, strict=True)):
        part = place / (len(values) - 1) if len(values) > 1 else 0.5
        x = _TREND_LEFT + part * (_TREND_RIGHT - _TREND_LEFT)
        share = (value - low) / span if span else 0.5
        y = _TREND_BOTTOM - share * (_TREND_BOTTOM - _TREND_TOP)
        dots.append(Dot(round(x, 1), round(y, 1), f"state {number}: {text}", has_drifted))
    path = "M" + " L".join(f"{dot.x} {dot.y}" for dot in dots)
    lowest, highest = texts[figures.index(low)], texts[figures.index(high)]
    return Trend(title, texts[-1], lowest, highest, path, tuple(dots))


def quantile_range(scale: Scale, quantiles: Sequence[float]) -> Range:
    """Five quantiles on the measure's axis."""
    places = [round(100 * min(max(scale.position(value), 0.0), 1.0), 2) for value in quantiles]
    low, _, middle, _, high = (scale.text(value) for value in quantiles)
    return Range(tuple(places), f"5 %: {low}, median {middle}, 95 %: {high} {scale.unit}".rstrip())


def wave_path(wave: Sequence[tuple[float, float]], width: float, height: float) -> str:
    """A waveform as a closed path."""
    step = width / max(len(wave), 1)
    middle = height / 2
    upper = [f"{step * place:.1f} {middle - middle * high:.1f}" for place, (_, high) in enumerate(wave)]
    lower = [f"{step * place:.1f} {middle - middle * low + 0.4:.1f}" for place, (low, _) in enumerate(wave)]
    return "M" + " L".join([*upper, *reversed(lower)]) + " Z" if wave else ""


def _limit(scale: Scale, threshold: str, value: float, below: bool, is_noted_only: bool) -> Limit:
    at = round(_x(scale, value), 1)
    begin, end = (LEFT, at) if below else (at, RIGHT)
    return Limit(at, begin, end, f"{threshold} {value:g}", is_noted_only)


def _x(scale: Scale, value: float) -> float:
    return LEFT + min(max(scale.position(value), 0.0), 1.0) * (RIGHT - LEFT)


def _y(share: float, top: float) -> float:
    return round(BOTTOM - share / top * (BOTTOM - TOP), 1)


def _steps(shares: Sequence[float], top: float, is_closed: bool) -> str:
    width = (RIGHT - LEFT) / len(shares)
    parts = [f"M{LEFT} {BOTTOM}"]
    level = BOTTOM
    for place, share in enumerate(shares):
        y = _y(share, top)
        if y != level:
            parts.append(f"H{LEFT + width * place:.1f} V{y}")
            level = y
    parts.append(f"H{RIGHT}" + (f" V{BOTTOM} Z" if is_closed else f" V{BOTTOM}" if level != BOTTOM else ""))
    return " ".join(parts)


def _bins(scale: Scale, groups: Sequence[tuple[str, Distribution]]) -> Iterator[Bin]:
    bins = scale.bins
    width = (RIGHT - LEFT) / bins
    for place in range(bins):
        counts = [(name, group.bins[place]) for name, group in groups]
        if any(count for _, count in counts):
            low, high = (scale.text(scale.value((place + side) / bins)) for side in (0, 1))
            told = ", ".join(f"{name} {count:,}" for name, count in counts)
            yield Bin(
                round(LEFT + width * place, 1), round(width, 2), f"{low} to {high} {scale.unit}: {told}"
            )


def _line(scale: Scale, name: str, group: Distribution) -> str:
    if group.median is None:
        return f"{name}: none"
    return f"{name}: {group.rows:,}, median {scale.text(group.median)}"


def _x_ticks(scale: Scale) -> Iterator[Tick]:
    if scale.is_log:
        first, last = math.ceil(math.log10(scale.low) - 1e-9), math.floor(math.log10(scale.high) + 1e-9)
        values = [10.0**power for power in range(first, last + 1)]
    else:
        step = _nice_above((scale.high - scale.low) / scale.per_unit / _TICKS) * scale.per_unit
        first = math.ceil(scale.low / step - 1e-9)
        values = [step * n for n in range(first, math.floor(scale.high / step + 1e-9) + 1)]
    for value in values:
        yield Tick(round(_x(scale, value), 1), f"{value / scale.per_unit:.6g}")


def _nice_above(value: float) -> float:
    """The least of 1, 2, 2.5, 5 times a power of ten that is no smaller."""
    power = 10.0 ** math.floor(math.log10(value))
    return float(
        next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= value * (1 - 1e-9))
    )
