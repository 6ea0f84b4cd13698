"""Whether a frame keeps a contract, asked in one query: pandera asks once per column and check, which is slower by far.

It says yes only where pandera would: where it says no, or meets a kind of check that it does not know, pandera is
asked, and tells what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import polars as pl

from validation.pandera_polars import pa

# By pandera's name of the check: the condition for a value that is not null.
_CONDITIONS: dict[str, Callable[[pl.Expr, dict[str, Any]], pl.Expr]] = {
    "isin": lambda column, told: column.is_in(list(told["allowed_values"])),
    "greater_than": lambda column, told: column > told["min_value"],
    "greater_than_or_equal_to": lambda column, told: column >= told["min_value"],
    "less_than": lambda column, told: column < told["max_value"],
    "less_than_or_equal_to": lambda column, told: column <= told["max_value"],
    "str_matches": lambda column, told: column.str.contains(_anchored(told["pattern"])),
    "str_length": lambda column, told: _has_length(column.str.len_chars(), **told),
}


def keeps(contract: type[pa.DataFrameModel], frame: pl.DataFrame) -> bool:
    """Whether the frame surely keeps the contract."""
    known = _conditions(contract)
    if known is None:
        return False
    schema, conditions = known
    if list(frame.schema.items()) != schema:
        return False
    return bool(frame.lazy().select(conditions).collect().item()) if frame.height else True


@lru_cache(maxsize=64)
def _conditions(contract: type[pa.DataFrameModel]) -> tuple[list[tuple[str, pl.DataType]], pl.Expr] | None:
    """Names and types of the columns in order, and the condition for the whole frame; ``None`` if not all is known."""
    stated = contract.to_schema()
    if not (stated.strict is True and stated.ordered) or stated.checks or stated.unique or stated.coerce:
        return None
    conditions = [pl.lit(True)]
    for name, column in stated.columns.items():
        if column.unique or column.coerce or column.regex or not column.required:
            return None
        if not column.nullable:
            conditions.append(pl.col(name).is_not_null().all())
            if column.dtype.type.is_float():  # pandera takes NaN for a null
                conditions.append(pl.col(name).is_not_nan().all())
        for check in column.checks:
            if check.name not in _CONDITIONS or not check.ignore_na or check.element_wise:
                return None
            told = {key: value for key, value in check.statistics.items() if value is not None}
            conditions.append(_CONDITIONS[check.name](pl.col(name), told).all(ignore_nulls=True))
    schema = [(name, column.dtype.type) for name, column in stated.columns.items()]
    return schema, pl.all_horizontal(conditions)


def _anchored(pattern: str) -> str:
    return pattern if pattern.startswith("^") else f"^{pattern}"


def _has_length(
    length: pl.Expr, min_value: int = 0, max_value: int | None = None, exact_value: int | None = None
) -> pl.Expr:
    if exact_value is not None:
        return length == exact_value
    return length >= min_value if max_value is None else length.is_between(min_value, max_value)
