"""Two models' answers to the same held-out rows, figure by figure, with the interval of each difference.

A row that only one of them could be asked, because its prompt is too long for the other, is the other's failure: all of
its words wrong. Rows that neither could be asked are not there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl

from training_jobs.bootstrap import Interval, paired_difference, rate_interval, resampled_by
from training_jobs.comparison import Comparison
from training_jobs.evaluation_figures import FIGURES, Figure, counts, rows_of, speakers
from training_jobs.gate import GateThresholds

_KEY = ("task", "corpus", "row_id", "mode")
_SHOWN = ("speaker_group", "speaker", "words")
_SIDES = ("candidate", "champion")
# What the model itself says decides; what another model hears in its speech is not there for each run.
_COUNTED = ("word_errors", "exact")
_JUDGED = tuple(figure for figure in FIGURES if figure.errors in _COUNTED)


def side_by_side(candidate: pl.DataFrame, champion: pl.DataFrame) -> pl.DataFrame:
    """One line per row and mode that either has answered, from both row tables: errors of each.

    Columns: those of ``rows.parquet`` that name the row, ``words``, and ``word_errors`` and ``exact`` of each, such as
    ``champion_exact``.
    """
    sides = [
        table.select(*_KEY, *_SHOWN, *(pl.col(name).alias(f"{side}_{name}") for name in _COUNTED))
        for side, table in zip(_SIDES, (candidate, champion), strict=True)
    ]
    joined = sides[0].join(sides[1], on=_KEY, how="full", coalesce=True)
    return joined.with_columns(pl.coalesce(name, f"{name}_right") for name in _SHOWN).with_columns(
        *(pl.col(f"{side}_word_errors").fill_null(pl.col("words")) for side in _SIDES),
        *(pl.col(f"{side}_exact").fill_null(False) for side in _SIDES),
    )


def unasked(candidate: pl.DataFrame, champion: pl.DataFrame) -> dict[str, int]:
    """Rows that only the other could be asked, of ``candidate`` and of ``champion``."""
    tables = {"candidate": candidate, "champion": champion}
    asked = {name: table.select("task", "corpus", "row_id").unique() for name, table in tables.items()}
    keys = ["task", "corpus", "row_id"]
    return {
        "candidate": asked["champion"].join(asked["candidate"], on=keys, how="anti").height,
        "champion": asked["candidate"].join(asked["champion"], on=keys, how="anti").height,
    }


def score_comparisons(pairs: pl.DataFrame, thresholds: GateThresholds, seed: int) -> list[Comparison]:
    """Every word error rate and exact match, in each mode, from :func:`side_by_side`."""
    found = []
    for mode, figure, part in _parts(pairs, _SIDES[0]):
        groups = speakers(part)
        ours, theirs = (counts(part, _of(figure, side)) for side in _SIDES)
        interval = paired_difference(*ours, *theirs, seed, groups=groups)
        rates = [sum(errors) / sum(units) for errors, units in (ours, theirs)]
        found.append(_comparison(mode, figure, rates, interval, thresholds, _basis(groups)))
    return found


def comparisons_with_record(
    candidate: pl.DataFrame, record: Mapping[str, float], thresholds: GateThresholds, seed: int
) -> list[Comparison]:
    """The candidate's figures against those that were noted of a model which cannot be run any more.

    Args:
        candidate: its row table.
        record: ``<mode>/<figure>`` to value, taken on the same rows.
    """
    found = []
    for mode, figure, part in _parts(candidate, ""):
        noted = record.get(f"{mode}/{figure.name}")
        if noted is None:
            continue
        groups = speakers(part)
        own = rate_interval(*counts(part, figure), seed, groups=groups)
        interval = Interval(own.value - noted, own.low - noted, own.high - noted)
        basis = f"{_basis(groups)}, the champion's as noted"
        found.append(_comparison(mode, figure, [own.value, noted], interval, thresholds, basis))
    return found


def without(table: pl.DataFrame, rows: Collection[tuple[str, str]]) -> pl.DataFrame:
    """The table without the rows of these corpora and ids."""
    named = pl.DataFrame(sorted(rows), schema={"corpus": pl.String, "row_id": pl.String}, orient="row")
    return table.join(named, on=["corpus", "row_id"], how="anti")


def _parts(table: pl.DataFrame, side: str) -> Iterator[tuple[str, Figure, pl.DataFrame]]:
    """Mode, figure and its rows, in one order; figures that have no unit in them are not there."""
    for mode in sorted(table["mode"].unique()):
        for figure in _JUDGED:
            own = _of(figure, side)
            part = rows_of(table.filter(mode=mode), own).sort("corpus", "row_id")
            if sum(counts(part, own)[1]):
                yield mode, figure, part


def _of(figure: Figure, side: str) -> Figure:
    return replace(figure, errors=f"{side}_{figure.errors}") if side else figure


def _basis(groups: Sequence[str]) -> str:
    by = resampled_by(groups)
    return f"{len(groups)} rows" + (f" of {len(set(groups))} speakers" if by == "speaker" else "")


def _comparison(
    mode: str,
    figure: Figure,
    rates: Sequence[float],
    interval: Interval,
    thresholds: GateThresholds,
    basis: str,
) -> Comparison:
    is_error = figure.errors == "word_errors"
    return Comparison(
        name=f"{mode}/{figure.name}",
        kind="rate",
        candidate=rates[0],
        champion=rates[1],
        difference=interval.value,
        low=interval.low,
        high=interval.high,
        limit=thresholds.max_wer_increase if is_error else 0.0 - thresholds.max_exact_decrease,
        more_is_worse=is_error,
        basis=basis,
    )
