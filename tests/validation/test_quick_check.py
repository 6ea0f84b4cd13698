"""The quick check of a contract says yes only where pandera does, and says it of every table."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandera.polars as pa
import polars as pl
import pytest
from pandera.config import ValidationDepth, config_context
from pandera.errors import SchemaError

from validation.quick_check import keeps
from validation.schemas import TABLES, ContractError, empty_frame, polars_schema, validate_table


def sample(name: str) -> pl.DataFrame:
    """Two rows that keep the contract."""
    columns: dict[str, list[Any]] = {}
    for column, spec in TABLES[name].to_schema().columns.items():
        columns[column] = [_value(spec)] * 2
    return pl.DataFrame(columns, schema=polars_schema(name))


def _value(spec: Any) -> Any:
    told = {
        key: value for check in spec.checks for key, value in check.statistics.items() if value is not None
    }
    kind = spec.dtype.type
    if "allowed_values" in told:
        return next(iter(told["allowed_values"]))
    if kind == pl.String:
        return "0" * int(told["pattern"].split("{")[1].split("}")[0]) if "pattern" in told else "x"
    if isinstance(kind, pl.List):
        return []
    if kind == pl.Boolean:
        return True
    if kind.is_temporal():
        return datetime(2026, 1, 1, tzinfo=UTC)
    return max(told.get("min_value", 0) + (1 if kind.is_integer() else 0.5), 0)


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_contract_is_known(name):
    assert keeps(TABLES[name], empty_frame(name))
    frame = sample(name)
    assert keeps(TABLES[name], frame)
    assert validate_table(name, "p", frame) is not None


@pytest.mark.parametrize("name", sorted(TABLES))
def test_what_pandera_refuses_is_not_passed(name):
    frame = sample(name)
    schema = TABLES[name].to_schema()
    of_columns: list[tuple[str, pl.DataFrame]] = []
    of_frame = [
        frame.with_columns(extra=pl.lit(1)),
        frame.drop(frame.columns[-1]),
        frame.select(reversed(frame.columns)),
    ]
    for column, spec in schema.columns.items():
        first = pl.int_range(pl.len()) == 0
        if not spec.nullable:
            none = frame.with_columns(pl.when(first).then(None).otherwise(pl.col(column)).alias(column))
            of_columns.append((column, none))
        if not spec.nullable and spec.dtype.type.is_float():
            of_columns.append((column, frame.with_columns(pl.lit(float("nan")).alias(column))))
        for check in spec.checks:
            told = check.statistics
            bad: Any = None
            if check.name == "isin":
                bad = "no such value"
            elif check.name == "str_matches":
                bad = "x"
            elif check.name == "str_length":
                bad = ""
            elif told.get("min_value") is not None:
                bad = told["min_value"] - (0 if check.name == "greater_than" else 1)
            elif told.get("max_value") is not None:
                bad = told["max_value"] + 1
            kind = spec.dtype.type
            lit = pl.lit(bad).cast(kind, strict=False)
            broken = frame.with_columns(pl.when(first).then(lit).otherwise(pl.col(column)).alias(column))
            if broken[column][0] is not None:  # an unsigned type holds nothing below zero
                of_columns.append((column, broken))
    for one in [*of_frame, *(frame for _, frame in of_columns[-1:])]:
        assert not keeps(TABLES[name], one)
        with pytest.raises(ContractError):
            validate_table(name, "p", one)
    with config_context(validation_depth=ValidationDepth.SCHEMA_AND_DATA):
        for column, one in of_columns:
            assert not keeps(TABLES[name], one)
            with pytest.raises(SchemaError):  # of one column: pandera takes seconds for all of a table's
                schema.columns[column].validate(one.lazy())


def test_a_check_that_is_not_known_is_left_to_pandera():
    class Odd(pa.DataFrameModel):
        value: int = pa.Field(ge=0)

        @pa.check("value")
        def is_even(cls, data: Any) -> pl.LazyFrame:
            return data.lazyframe.select(pl.col(data.key) % 2 == 0)

        class Config:
            strict = True
            ordered = True

    assert not keeps(Odd, pl.DataFrame({"value": [2]}))
