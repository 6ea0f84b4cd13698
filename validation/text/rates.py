"""How fast a text is spoken: against its recording, and against the corpus' own way of speaking."""

from __future__ import annotations

import duckdb
import polars as pl

from validation.batches import frame_of

_RATE_ROWS = 50  # fewer have no distribution
_MAD_TO_SIGMA = 1.4826
_AROUND = r"^[\s\x1c-\x1f]+|[\s\x1c-\x1f]+$"


def chars_per_second_expr() -> pl.Expr:
    """Characters of the column ``text`` per second of the recording (``duration_s``); null without a transcript."""
    characters = pl.col("text").str.replace_all(_AROUND, "").str.len_chars()
    return pl.when(characters > 0).then(characters / pl.col("duration_s"))


class SpeakingRates:
    """The distribution of a corpus' characters per second, by language, gathered a batch at a time.

    Args:
        connection: From :func:`validation.batches.database`, which keeps a number per row.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        # One of its own: the other's rows are being read meanwhile.
        self._connection = connection.cursor()
        self._connection.execute("CREATE OR REPLACE TABLE rates (language VARCHAR, log DOUBLE)")

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows with ``language`` and ``chars_per_second``."""
        known = rows.filter(pl.col("chars_per_second") > 0)
        logs = known.select("language", log=pl.col("chars_per_second").log())
        self._connection.register("batch", logs.to_arrow())
        self._connection.execute("INSERT INTO rates SELECT language, log FROM batch")
        self._connection.unregister("batch")

    def distribution(self) -> pl.DataFrame:
        """Columns ``language``, ``_median`` and ``_spread`` of the logarithm, of languages that have a distribution."""
        return frame_of(
            self._connection,
            """
            SELECT language, median(log) AS _median, mad(log) * ? AS _spread
            FROM rates GROUP BY language HAVING count(*) >= ? AND mad(log) > 0""",
            [_MAD_TO_SIGMA, _RATE_ROWS],
        )


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
