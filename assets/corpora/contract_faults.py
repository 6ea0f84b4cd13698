"""Rows that a reader makes and the contract of ``raw_utterances`` refuses: each ends by itself, its corpus goes on."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from assets.corpora.utterance import SourceProblem
from validation.schemas import ContractError, TableName, frame_from_rows, polars_schema, validate_table

_TABLE: TableName = "raw_utterances"


def within_contract(rows: list[dict[str, Any]]) -> tuple[pl.DataFrame, list[SourceProblem]]:
    """The rows that fit the contract as a frame; for each other one column, check and value.

    Raises:
        validation.schemas.ContractError: if the fault is not that of single rows.
    """
    faults: dict[int, SourceProblem] = {}
    try:
        frame = frame_from_rows(_TABLE, rows)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        # A value of another type than its column's: which one, only the rows one by one say.
        faults = {place: _problem(row, [one]) for place, row in enumerate(rows) if (one := _mistyped(row))}
        if not faults:
            raise
        left = [row for place, row in enumerate(rows) if place not in faults]
        found, others = within_contract(left)
        return found, [*faults.values(), *others]
    try:
        return validate_table(_TABLE, str(rows[0]["corpus"]) if rows else "", frame), []
    except ContractError as error:
        failures = error.every
        if failures["position"].null_count():
            raise
        for place, some in failures.group_by("position", maintain_order=True):
            told = list(some.select("column_name", "check_name", "value").iter_rows())
            faults[int(str(place[0]))] = _problem(rows[int(str(place[0]))], told)
    keep = [place for place in range(len(rows)) if place not in faults]
    return frame[keep], [faults[place] for place in sorted(faults)]


def _mistyped(row: dict[str, Any]) -> tuple[str, str, str | None] | None:
    for name, kind in polars_schema(_TABLE).items():
        try:
            pl.Series([row[name]], dtype=kind, strict=True)
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            return name, f"type {kind}", repr(row[name])
    return None


def _problem(row: dict[str, Any], told: list[tuple[str, str, str | None]]) -> SourceProblem:
    source = _text(row["source"])
    words = "; ".join(f"{column}: {check}: value {value!s:.80}" for column, check, value in told)
    detail = f"{source}: breaks the contract of {_TABLE}: {words}"
    return SourceProblem(_text(row["utterance_id"]), source, "breaks_contract", detail, _number(told[0][2]))


def _text(value: object) -> str:
    return value if isinstance(value, str) else repr(value)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
