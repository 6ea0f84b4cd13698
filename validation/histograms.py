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
import numpy as np
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


class Cells:
    """Counts by measure, part of the rows, and cell; see :func:`count_cells`."""

    def __init__(self, frame: pl.DataFrame) -> None:
        # Arrays: a page asks hundreds of times, and a query of a few cells takes many times as long as its work.
        self._of_measure = {
            str(measure): tuple(group[name].to_numpy() for name in ("part", "cell", "rows", "least"))
            for (measure,), group in frame.partition_by("measure", as_dict=True).items()
        }

    def distribution(self, scale: Scale, parts: Sequence[str] | None = None) -> Distribution:
        """The measure over the rows of these parts, or of all."""
        none = Distribution(0, (), (0,) * scale.bins)
        if scale.column not in self._of_measure:
            return none
        part_C, cell_C, rows_C, least_C = self._of_measure[scale.column]
        if parts is not None:
            wanted_C = np.isin(part_C, list(parts))
            cell_C, rows_C, least_C = cell_C[wanted_C], rows_C[wanted_C], least_C[wanted_C]
        if not rows_C.size:
            return none
        # A cell may be there once for each part.
        cell_U, unique_C = np.unique(cell_C, return_inverse=True)
        rows_U, least_U = np.zeros(cell_U.size, np.int64), np.full(cell_U.size, np.inf)
        np.add.at(rows_U, unique_C, rows_C)
        np.minimum.at(least_U, unique_C, least_C)
        bins_B = np.zeros(scale.bins, np.int64)
        np.add.at(bins_B, np.clip(cell_U // CELLS_PER_BIN, 0, scale.bins - 1), rows_U)
        reached_U = np.cumsum(rows_U)
        rows = int(reached_U[-1])
        places = np.searchsorted(reached_U, [math.floor(share * (rows - 1)) + 1 for share in QUANTILES])
        return Distribution(rows, tuple(least_U[places].tolist()), tuple(bins_B.tolist()))


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
