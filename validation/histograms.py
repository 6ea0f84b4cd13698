"""Distributions of measures by counting: one pass of DuckDB over a table, in a memory that no corpus' size changes.

Each axis (:mod:`validation.scales`) is cut into cells, fifty to a bin. Of each cell DuckDB gives the number of rows and
the least of their values. Bins are sums of cells, exact; a quantile is a value that some row has, off by a cell at
most. Counts are whole numbers: threads and their order change nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb
import polars as pl

from validation.batches import frame_of
from validation.scales import CELLS_PER_BIN, SCALES, Scale

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_BEYOND = 1.0  # how far cells go on beyond both ends of the axis, in its lengths


@dataclass(frozen=True, slots=True)
class Distribution:
    """One measure of some rows.

    Attributes:
        rows: How many have it.
        quantiles: At :data:`QUANTILES`; empty without rows.
        bins: Rows in each bin of the measure's axis.
    """

    rows: int
    quantiles: tuple[float, ...]
    bins: tuple[int, ...]

    @property
    def median(self) -> float | None:
        """The middle value; ``None`` without rows."""
        return self.quantiles[2] if self.quantiles else None


@dataclass(frozen=True, slots=True)
class Cells:
    """Counts by measure, part of the rows, and cell; see :func:`count_cells`."""

    frame: pl.DataFrame

    def distribution(self, scale: Scale, parts: Sequence[str] | None = None) -> Distribution:
        """The measure over the rows of these parts, or of all."""
        of_scale = self.frame.filter(pl.col("measure") == scale.column)
        if parts is not None:
            of_scale = of_scale.filter(pl.col("part").is_in(list(parts)))
        cells = of_scale.group_by("cell").agg(pl.col("rows").sum(), pl.col("least").min()).sort("cell")
        rows = int(cells["rows"].sum())
        if not rows:
            return Distribution(0, (), (0,) * scale.bins)
        bin_of = (pl.col("cell") // CELLS_PER_BIN).clip(0, scale.bins - 1)
        counts = dict(cells.group_by(bin_of).agg(pl.col("rows").sum()).iter_rows())
        reached = cells["rows"].cum_sum()
        places = [reached.search_sorted(math.floor(share * (rows - 1)) + 1) for share in QUANTILES]
        quantiles = tuple(float(cells["least"][int(place)]) for place in places)
        return Distribution(rows, quantiles, tuple(int(counts.get(n, 0)) for n in range(scale.bins)))


def count_cells(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str] | None = None
) -> Cells:
    """Count the measures of a relation.

    Args:
        relation: A statement or view whose rows have the text ``part`` and columns of ``audio_quality``.
        columns: The measures that it has; all that have a scale unless named.
    """
    scales = [scale for scale in SCALES if columns is None or scale.column in columns]
    connection.register("scales", _parameters(scales).to_arrow())
    doubles = ", ".join(f"{scale.column}::DOUBLE AS {scale.column}" for scale in scales)
    names = ", ".join(scale.column for scale in scales)
    statement = f"""
        SELECT measure, part,
            greatest(first_cell, least(last_cell, floor(
                (CASE WHEN is_log THEN ln(greatest(value, 1e-9)) ELSE value END - low) / width
            )))::INTEGER AS cell,
            count(*)::BIGINT AS rows, min(value) AS least
        FROM (UNPIVOT (SELECT part, {doubles} FROM ({relation})) ON {names} INTO NAME measure VALUE value)
        JOIN scales USING (measure)
        WHERE NOT isnan(value) GROUP BY ALL"""  # noqa: S608 - names are our own
    frame = frame_of(connection, statement)
    connection.unregister("scales")
    return Cells(frame)


def _parameters(scales: Sequence[Scale]) -> pl.DataFrame:
    rows: list[Mapping[str, object]] = []
    for scale in scales:
        low, high = (math.log(scale.low), math.log(scale.high)) if scale.is_log else (scale.low, scale.high)
        cells = scale.bins * CELLS_PER_BIN
        beyond = round(_BEYOND * cells)
        rows.append(
            {
                "measure": scale.column,
                "is_log": scale.is_log,
                "low": low,
                "width": (high - low) / cells,
                "first_cell": float(-beyond),
                "last_cell": float(cells + beyond),
            }
        )
    return pl.DataFrame(rows)
