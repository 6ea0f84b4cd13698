"""What was drawn, counted by the values of a field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from validation.metadata import UNKNOWN, column_of, kind_of

_MOST_VALUES = 100  # of a field that are counted apart


class FieldValues:
    """The values of one field, for the counts of what was drawn."""

    def __init__(self, field: str) -> None:
        self.field = field
        self._is_number = kind_of(field) == "number"
        self._parts: list[NDArray[Any]] = []
        self._names: dict[str, int] = {}

    def add(self, column: pl.Series) -> None:
        """The values of further samples."""
        if self._is_number:
            self._parts.append(column.cast(pl.Float64).to_numpy())
        else:
            frame = column.alias(column_of(self.field)).to_frame()
            self._parts.append(coded(frame.select(value_text(self.field)).to_series(), self._names))

    def counts(
        self, lengths: NDArray[np.int32], drawn: NDArray[np.int64]
    ) -> Mapping[str, Mapping[str, float]]:
        """By value: rows, rows drawn, samples (each row as often as it was drawn) and tokens of them."""
        if not self._parts:
            return {}
        every = np.concatenate(self._parts)
        if self._is_number:
            return {"known": _means(every, drawn)}
        once = np.unique(drawn)
        size = len(self._names)
        columns = {
            "rows": np.bincount(every, minlength=size),
            "drawn": np.bincount(every[once], minlength=size),
            "samples": np.bincount(every[drawn], minlength=size),
            "tokens": np.bincount(every[drawn], weights=lengths[drawn], minlength=size).astype(np.int64),
        }
        names = list(self._names)
        most = sorted(range(size), key=lambda code: (-int(columns["rows"][code]), names[code]))
        told = {
            names[code]: {name: int(counts[code]) for name, counts in columns.items()}
            for code in most[:_MOST_VALUES]
        }
        if rest := most[_MOST_VALUES:]:
            told[f"({len(rest)} others)"] = {
                name: int(counts[rest].sum()) for name, counts in columns.items()
            }
        return told


def value_text(field: str) -> pl.Expr:
    """A field's value as one text."""
    column = pl.col(column_of(field))
    if kind_of(field) == "texts":
        column = column.list.join(" + ")
    return column.cast(pl.String).fill_null(UNKNOWN)


def coded(texts: pl.Series, codes: dict[str, int]) -> NDArray[np.int32]:
    """The number of each text; new ones get the next one."""
    for text in texts.unique(maintain_order=True):
        codes.setdefault(text, len(codes))
    return texts.replace_strict(codes, return_dtype=pl.Int32).to_numpy()


def _means(values: NDArray[np.float64], drawn: NDArray[np.int64]) -> dict[str, float]:
    known, of_drawn = values[~np.isnan(values)], values[drawn][~np.isnan(values[drawn])]
    return {
        "rows": int(known.size),
        "samples": int(of_drawn.size),
        "mean_of_rows": round(float(known.mean()), 4) if known.size else 0.0,
        "mean_of_samples": round(float(of_drawn.mean()), 4) if of_drawn.size else 0.0,
    }
