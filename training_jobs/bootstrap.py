"""95 % bootstrap confidence intervals of error rates, and of the difference of two systems on the same rows.

A rate is a ratio of sums: errors of all rows by units of all rows (words, characters, or 1 per row). Rows of one
speaker go wrong together, so whole speakers are drawn where there are enough of them; else rows are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from validation.errors import UserError

RESAMPLES = 2000
# Drawn with replacement, 4 speakers make 35 different samples and 5 make 126: fewer give no 2.5th percentile.
LEAST_GROUPS = 5
_TAILS = (0.025, 0.975)
_DRAWS_AT_ONCE = 1 << 20  # 8 MiB of indices

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


class NoRateError(UserError):
    """Rows that have no rate: there are none, or they hold no unit; says how many."""


@dataclass(frozen=True)
class Interval:
    """A figure and where 95 % of its resamples lie (percentiles).

    Rows that are all alike, and a single row, resample to themselves: the interval has no width, and says nothing
    about rows that were not drawn.
    """

    value: float
    low: float
    high: float


def resampled_by(groups: Sequence[str] | None) -> str:
    """What is drawn: ``speaker``, from :data:`LEAST_GROUPS` different ones on, else ``row``."""
    return "speaker" if groups is not None and len(set(groups)) >= LEAST_GROUPS else "row"


def rate_interval(
    errors: Sequence[int],
    units: Sequence[int],
    seed: int,
    resamples: int = RESAMPLES,
    groups: Sequence[str] | None = None,
) -> Interval:
    """``sum(errors) / sum(units)`` over rows, with its interval.

    Args:
        errors: per row; may be greater than its units.
        units: per row, at least 0.
        seed: the same seed and rows give the same interval.
        resamples: samples drawn, each as large as the rows (or groups).
        groups: per row, whom it belongs to: its speaker.

    Raises:
        NoRateError: if there is no row, or no unit in them.
    """
    (sums,) = _summed([(errors, units)], groups)
    value = _rate(sums)
    rates = np.concatenate([_rates(sums, drawn) for drawn in _samples(sums.shape[1], seed, resamples)])
    return _interval(value, rates)


def paired_difference(
    errors_a: Sequence[int],
    units_a: Sequence[int],
    errors_b: Sequence[int],
    units_b: Sequence[int],
    seed: int,
    resamples: int = RESAMPLES,
    groups: Sequence[str] | None = None,
) -> Interval:
    """Rate of a minus rate of b, of two systems on the same rows in the same order, drawn together.

    Raises:
        NoRateError: if there is no row, or no unit in one system's.
    """
    a, b = _summed([(errors_a, units_a), (errors_b, units_b)], groups)
    value = _rate(a) - _rate(b)
    differences = [_rates(a, drawn) - _rates(b, drawn) for drawn in _samples(a.shape[1], seed, resamples)]
    return _interval(value, np.concatenate(differences))


def _summed(
    systems: Sequence[tuple[Sequence[int], Sequence[int]]], groups: Sequence[str] | None
) -> list[_Ints]:
    """Per system the errors and units of what is drawn: (2, rows), or (2, groups)."""
    lengths = {len(values) for system in systems for values in system}
    if groups is not None:
        lengths.add(len(groups))
    assert len(lengths) == 1, f"rows of different numbers: {sorted(lengths)}"
    tables = [np.array(system, dtype=np.int64) for system in systems]
    assert all((table >= 0).all() for table in tables), "negative errors or units"
    if groups is None or resampled_by(groups) == "row":
        return tables
    _, which = np.unique(np.array(groups, dtype=object).astype(str), return_inverse=True)
    return [
        np.stack([np.bincount(which, weights=values).astype(np.int64) for values in table])
        for table in tables
    ]


def _rate(sums: _Ints) -> float:
    errors, units = sums.sum(axis=1)
    if not units:
        raise NoRateError(f"no rate: {sums.shape[1]} rows hold 0 units")
    return float(errors / units)


def _samples(count: int, seed: int, resamples: int) -> Iterator[_Ints]:
    """Indices drawn with replacement, (samples, count), some samples at a time."""
    random = np.random.default_rng(seed)
    at_once = max(1, _DRAWS_AT_ONCE // count)
    for begin in range(0, resamples, at_once):
        yield random.integers(0, count, size=(min(at_once, resamples - begin), count))


def _rates(sums: _Ints, drawn: _Ints) -> _Floats:
    """Per sample; not a number where no drawn row holds a unit."""
    errors, units = (values[drawn].sum(axis=1) for values in sums)
    rates: _Floats = np.full(len(drawn), np.nan)
    np.divide(errors, units, out=rates, where=units > 0)
    return rates


def _interval(value: float, resampled: _Floats) -> Interval:
    low, high = np.nanquantile(resampled, _TAILS)
    return Interval(value, float(low), float(high))
