"""The figures of an evaluation, each a ratio of sums over scored rows, with its bootstrap interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import polars as pl

from training_jobs.bootstrap import Interval, NoRateError, paired_difference, rate_interval
from training_jobs.evaluation_rows import UNKNOWN_SPEAKER, SpeakerGroup

ONE = "one"  # the units of a figure that is a share of rows
MEAN = "mean"  # of one that is the mean of a measure, which is at least 0
_THOUSANDTHS = 1000
_DIGITS = 6
_ROW = ("task", "corpus", "row_id")


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: in ``overall``.
        rows: which rows of the table it is of.
        errors: column of what is counted; rows where it is null have no part in the figure.
        units: column of what it is counted in, or :data:`ONE`, or :data:`MEAN`.
    """

    name: str
    errors: str
    units: str = ONE
    rows: Mapping[str, str] = field(default_factory=dict)


def _of_transcripts() -> list[Figure]:
    return [
        Figure(f"asr_{group}_{name}", errors, units, {"task": "asr", "speaker_group": group})
        for group in get_args(SpeakerGroup)
        for name, errors, units in (
            ("wer", "word_errors", "words"),
            ("cer", "char_errors", "chars"),
            ("exact", "exact", ONE),
        )
    ]


FIGURES: tuple[Figure, ...] = (
    *_of_transcripts(),
    Figure("sqa_exact", "exact", rows={"task": "sqa"}),
    Figure("sqa_contains", "contains", rows={"task": "sqa"}),
    Figure("sqa_spoken_contains", "spoken_contains", rows={"task": "sqa"}),
    Figure("sqa_heard_contains", "heard_contains", rows={"task": "sqa"}),
    Figure("tts_wer", "word_errors", "words", {"task": "tts"}),
    Figure("tts_exact", "exact", rows={"task": "tts"}),
    Figure("tts_heard_wer", "heard_errors", "words", {"task": "tts"}),
    Figure("tts_mos", "mos", MEAN, {"task": "tts"}),
)


def overall(table: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Figures per mode over all corpora and languages; a figure without rows is absent."""
    figures: dict[str, dict[str, float]] = {}
    for mode in table["mode"].unique().sort():
        for figure in FIGURES:
            part = rows_of(table.filter(mode=mode), figure)
            errors, units = counts(part, figure)
            if sum(units):
                figures.setdefault(mode, {})[figure.name] = round(sum(errors) / sum(units), _DIGITS)
    return figures


def intervals(table: pl.DataFrame, seed: int) -> dict[str, dict[str, list[float]]]:
    """The 95 % interval of each overall figure: its lower and upper end."""
    found: dict[str, dict[str, list[float]]] = {}
    for mode in table["mode"].unique().sort():
        for figure in FIGURES:
            interval = interval_of(rows_of(table.filter(mode=mode), figure), figure, seed)
            if interval is not None:
                ends = [round(interval.low, _DIGITS), round(interval.high, _DIGITS)]
                found.setdefault(mode, {})[figure.name] = ends
    return found


def differences(table: pl.DataFrame, mode: str, base: str, seed: int) -> dict[str, dict[str, Any]]:
    """Of each figure, ``mode`` minus ``base`` on the same rows, resampled together: value, low, high."""
    found = {}
    for figure in FIGURES:
        ours, theirs = (rows_of(table.filter(mode=one), figure).sort(_ROW) for one in (mode, base))
        # What one of them has no measure of (a silent reply has no opinion score) is compared in neither.
        ours, theirs = ours.join(theirs, on=_ROW, how="semi"), theirs.join(ours, on=_ROW, how="semi")
        try:
            interval = paired_difference(
                *counts(ours, figure), *counts(theirs, figure), seed, groups=speakers(ours)
            )
        except NoRateError:
            continue
        found[figure.name] = {name: round(value, _DIGITS) for name, value in vars(interval).items()}
    return found


def rows_of(table: pl.DataFrame, figure: Figure) -> pl.DataFrame:
    """The rows that a figure is of."""
    return table.filter(**figure.rows).filter(pl.col(figure.errors).is_not_null())


def counts(part: pl.DataFrame, figure: Figure) -> tuple[list[int], list[int]]:
    """Errors and units per row."""
    column = part[figure.errors]
    if figure.units == MEAN:
        return (column * _THOUSANDTHS).round().cast(pl.Int64).to_list(), [_THOUSANDTHS] * part.height
    units = [1] * part.height if figure.units == ONE else part[figure.units].to_list()
    return column.cast(pl.Int64).to_list(), units


def interval_of(part: pl.DataFrame, figure: Figure, seed: int) -> Interval | None:
    """The figure of these rows with its interval; ``None`` where they hold no unit."""
    try:
        return rate_interval(*counts(part, figure), seed, groups=speakers(part))
    except NoRateError:
        return None


def speakers(part: pl.DataFrame) -> list[str]:
    """Whom each row belongs to; a row of a voice that nobody named is by itself."""
    return [
        f"{corpus}\0{row_id if speaker == UNKNOWN_SPEAKER else speaker}"
        for corpus, speaker, row_id in part.select("corpus", "speaker", "row_id").iter_rows()
    ]
