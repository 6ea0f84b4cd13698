"""What a mixture may ask of a row, and by what it may weigh rows: typed, over the fields of :mod:`validation.metadata`.

A row of which a field is not known, or not of all its parts, meets no condition on it but ``is_known: false``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Annotated, Literal

import polars as pl
from pydantic import (
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from validation.metadata import UNKNOWN, allowed_fields, column_of, is_field, kind_of
from validation.strict import StrictKeys

Op = Literal["eq", "in", "not_in", "lt", "le", "gt", "ge", "is_known"]
Value = StrictInt | StrictFloat | StrictStr
_ORDERED = ("lt", "le", "gt", "ge")
_LISTS = ("in", "not_in")


class _OfField(StrictKeys):
    field: str

    @field_validator("field")
    @classmethod
    def _known_field(cls, name: str) -> str:
        if not is_field(name):
            raise ValueError(f"there is no such field; there are {allowed_fields()}")
        return name


class Condition(_OfField):
    """One condition on one field: ``{field: snr_db, op: ge, value: 15}``.

    ``eq``, ``in`` and ``not_in`` compare with texts or numbers, ``lt``, ``le``, ``gt`` and ``ge`` with a number,
    ``is_known`` asks whether there is a value (``value: false``: whether there is none). Of a row of several speakers,
    licences or consents all must be among the values (``not_in``: none of them).
    """

    op: Op
    value: StrictBool | Value | tuple[Value, ...] = True

    @field_validator("value", mode="before")
    @classmethod
    def _of_a_kind(cls, value: object) -> object:
        # Said once, where each kind of the union would complain.
        is_list = isinstance(value, list | tuple)
        each = value if isinstance(value, list | tuple) else [value]
        if not all(
            isinstance(one, int | float | str) and not (is_list and isinstance(one, bool)) for one in each
        ):
            raise ValueError("wanted is a text, a number, true or false, or a list of texts or numbers")
        return value

    @model_validator(mode="after")
    def _fitting_value(self) -> Condition:
        wanted = self._wanted()
        if wanted is not None:
            raise ValueError(f"{self.field}: {self.op} takes {wanted} (got {self.value!r:.80})")
        return self

    def _wanted(self) -> str | None:
        """What the value should be, if it is something else."""
        if self.op == "is_known":
            return None if isinstance(self.value, bool) else "true or false"
        kind = kind_of(self.field)
        if self.op in _ORDERED and kind in ("text", "texts"):
            return "numbers, and this is a text"
        types: tuple[type, ...] = (str,)
        if self.op in _ORDERED or kind == "number":
            types = (int, float)
        elif kind == "stated":
            types = (int, float, str)
        noun = {1: "text", 2: "number", 3: "text or number"}[len(types)]
        if self.op in _LISTS:
            is_list = isinstance(self.value, tuple) and all(isinstance(one, types) for one in self.value)
            return None if is_list and self.value else f"a list, each a {noun}"
        is_one = isinstance(self.value, types) and not isinstance(self.value, bool)
        return None if is_one else f"a {noun}"

    def _values(self) -> tuple[Value, ...]:
        return self.value if isinstance(self.value, tuple) else (self.value,)

    def expression(self) -> pl.Expr:
        """Whether a row meets it; over the field's column (:func:`validation.metadata.column_of`). Never null."""
        known = _is_known(self.field)
        if self.op == "is_known":
            return known if self.value else ~known
        return (known & self._met()).fill_null(value=False)

    def _met(self) -> pl.Expr:
        column, values = pl.col(column_of(self.field)), self._values()
        if kind_of(self.field) == "texts":
            is_named = pl.element().is_in(list(values))
            named = column.list.eval(is_named).list
            return ~named.any() if self.op == "not_in" else named.all()
        if self.op in _ORDERED:
            return _compared(_number(self.field), self.op, values[0])
        found = [_equals(self.field, value) for value in values]
        among = reduce(lambda one, other: one | other, found)
        return ~among if self.op == "not_in" else among


def _is_known(field: str) -> pl.Expr:
    column = pl.col(column_of(field))
    if kind_of(field) == "texts":
        return ((column.list.len() > 0) & ~column.list.contains(UNKNOWN)).fill_null(value=False)
    return column.is_not_null() if kind_of(field) == "number" else column.is_not_null() & (column != "")


def _number(field: str) -> pl.Expr:
    column = pl.col(column_of(field))
    return column if kind_of(field) == "number" else column.cast(pl.Float64, strict=False)


def _equals(field: str, value: Value) -> pl.Expr:
    if isinstance(value, str):
        return pl.col(column_of(field)) == value
    return (_number(field) == float(value)).fill_null(value=False)


def _compared(number: pl.Expr, op: str, value: Value) -> pl.Expr:
    assert not isinstance(value, str), value
    return {"lt": number < value, "le": number <= value, "gt": number > value, "ge": number >= value}[op]


class ByValue(_OfField):
    """A row's weight is a number of its own: twice the value, twice as often.

    Attributes:
        unknown: Weight of rows of which it is not known.
    """

    by: Literal["value"]
    unknown: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _is_number(self) -> ByValue:
        if kind_of(self.field) not in ("number", "stated"):
            raise ValueError(f"{self.field} is a text, which is no weight; by: map gives each text one")
        return self


class ByMap(_OfField):
    """A row's weight is stated for its value.

    Attributes:
        weights: Value to weight.
        other: Weight of every other value, and of rows of which none is known.
    """

    by: Literal["map"]
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(min_length=1)
    other: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _is_text(self) -> ByMap:
        if kind_of(self.field) == "number":
            raise ValueError(f"{self.field} is a number; by: map is for texts, by: value for numbers")
        return self


class ByTemperature(_OfField):
    """Values are drawn as p ~ n^alpha of their n rows, whatever their size, and rows of a value alike.

    Attributes:
        alpha: 1 leaves the shares as they are, 0 makes them equal.
    """

    by: Literal["temperature"]
    alpha: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _is_text(self) -> ByTemperature:
        if kind_of(self.field) == "number":
            raise ValueError(
                f"{self.field} is a number; by: temperature is for texts such as language or speaker"
            )
        return self


WeightBy = Annotated[ByValue | ByMap | ByTemperature, Field(discriminator="by")]


def met(conditions: Sequence[Condition]) -> pl.Expr:
    """Whether a row meets all conditions."""
    return reduce(
        lambda one, other: one & other, [one.expression() for one in conditions], pl.lit(value=True)
    )
