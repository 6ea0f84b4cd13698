"""How fast a text is spoken: against its recording, and against the corpus' own way of speaking."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

_RATE_ROWS = 50  # fewer have no distribution
_MAD_TO_SIGMA = 1.4826
_STEPS = 4096  # of the logarithm
_MOST_COUNTS = 1 << 17
_COUNTS: dict[str, Any] = {"language": pl.String, "step": pl.Int64, "rows": pl.Int64}
_DISTRIBUTION: dict[str, Any] = {"language": pl.String, "_median": pl.Float64, "_spread": pl.Float64}
_AROUND = r"^[\s\x1c-\x1f]+|[\s\x1c-\x1f]+$"


def chars_per_second_expr() -> pl.Expr:
    """Characters of the column ``text`` per second of the recording (``duration_s``); null without a transcript."""
    characters = pl.col("text").str.replace_all(_AROUND, "").str.len_chars()
    return pl.when(characters > 0).then(characters / pl.col("duration_s"))


class SpeakingRates:
    """The distribution of a corpus' characters per second, by language, gathered a batch at a time.

    Rates are counted in steps of a fortieth of a per cent, so that a corpus of any size takes some thousand numbers.
    """

    def __init__(self) -> None:
        self._counted = [pl.DataFrame(schema=_COUNTS)]

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows with ``language`` and ``chars_per_second``."""
        rate = pl.col("chars_per_second")
        known = rows.lazy().filter(rate.is_finite() & (rate > 0))
        step = (rate.log() * _STEPS).round().cast(pl.Int64)
        self._counted.append(
            known.group_by("language", step=step).agg(rows=pl.len().cast(pl.Int64)).collect()
        )
        if sum(part.height for part in self._counted) > _MOST_COUNTS:
            self._counted = [self._counts()]

    def distribution(self) -> pl.DataFrame:
        """Columns ``language``, ``_median`` and ``_spread`` of the logarithm, of languages that have a distribution."""
        found = []
        for (language,), counts in self._counts().group_by("language", maintain_order=True):
            steps, rows = counts["step"].to_numpy(), counts["rows"].to_numpy()
            middle = _median(steps, rows)
            deviation = _median(np.abs(steps - middle), rows)
            if rows.sum() >= _RATE_ROWS and deviation > 0:
                found.append((language, middle / _STEPS, deviation / _STEPS * _MAD_TO_SIGMA))
        return pl.DataFrame(found, schema=_DISTRIBUTION, orient="row")

    def _counts(self) -> pl.DataFrame:
        return (
            pl.concat(self._counted)
            .group_by("language", "step")
            .agg(pl.col("rows").sum())
            .sort("language", "step")
        )


def _median(values: NDArray[Any], counts: NDArray[np.int64]) -> float:
    """The median of values that are there so many times: the lower one of two in the middle."""
    return float(np.quantile(values, 0.5, weights=counts, method="inverted_cdf"))


def with_rate_deviation(rows: pl.DataFrame, distribution: pl.DataFrame) -> pl.DataFrame:
    """The rows with ``rate_deviation``: a robust z-score of ``chars_per_second`` within the corpus and language.

    ``(x - median) / (1.4826 MAD)`` of the logarithm, with the median absolute deviation (Iglewicz and Hoaglin, "How to
    detect and handle outliers", 1993). Null without a rate, below 50 rows of the language, and where more than half of
    them are equal.

    Args:
        distribution: From :meth:`SpeakingRates.distribution`, of the whole corpus.
    """
    joined = rows.join(distribution, on="language", how="left", maintain_order="left")
    deviation = (pl.col("chars_per_second").log() - pl.col("_median")) / pl.col("_spread")
    known = pl.when(pl.col("chars_per_second") > 0).then(deviation)
    return joined.with_columns(rate_deviation=known).drop("_median", "_spread")
