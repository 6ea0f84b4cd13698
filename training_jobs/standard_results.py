"""What an evaluation says of each standard set: its figures, or that it has no root and was skipped."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import polars as pl

from training_jobs.evaluation_figures import interval_of, rows_of
from training_jobs.evaluation_slices import TASK_FIGURES
from training_jobs.evaluation_tables import with_interval
from training_jobs.standard_sets import StandardSet, load_standard_sets
from validation.lake import Lake
from validation.ledger import balance

_NOT_CONFIGURED = "skipped: no root under standard_sets in the corpora file"
_DIGITS = 6


def standard_results(
    table: pl.DataFrame, configured: Collection[str], lake: Lake, seed: int
) -> dict[str, dict[str, Any]]:
    """Per set its status, and where it was read the rows at each step and the figures with their intervals.

    Args:
        table: the scored rows; a set's rows have its name as corpus.
        configured: names of the sets that have a root.
    """
    results = {}
    for name, one in load_standard_sets().items():
        head: dict[str, Any] = {
            "title": one.title,
            "task": one.task,
            "metric": one.metric,
            "rows_published": one.rows,
        }
        if name not in configured:
            results[name] = {**head, "status": _NOT_CONFIGURED, "expects": one.expects}
            continue
        part = table.filter(corpus=name, task=one.task)
        ended = balance(lake, name)
        scored = part["row_id"].n_unique()
        rows = {"rows_read": ended.read, "rows_accepted": ended.accepted, "rows_scored": scored}
        results[name] = {
            **head,
            "status": _status(one, scored),
            **rows,
            "figures": _figures(part, one.task, seed),
        }
    return results


def standard_markdown(results: Mapping[str, Mapping[str, Any]], modes: Sequence[str]) -> str:
    """A line per set and figure, the modes side by side; sets without a root say so."""
    head = ["set", "task", "metric", "published", "read", "accepted", "scored", "figure", *modes, "status"]
    lines = [
        "| " + " | ".join(head) + " |",
        "|---|---|---|" + "---:|" * 4 + "---|" + "---:|" * len(modes) + "---|",
    ]
    for one in results.values():
        shown = [one["title"], one["task"], one["metric"], str(one["rows_published"] or "–")]
        shown += [str(one.get(f"rows_{step}", "–")) for step in ("read", "accepted", "scored")]
        figures = one.get("figures") or {"–": {}}
        for figure, by_mode in figures.items():
            cells = [
                with_interval(by_mode[mode], "rate", "rate") if mode in by_mode else "–" for mode in modes
            ]
            lines.append("| " + " | ".join([*shown, figure, *cells, one["status"]]) + " |")
    return "\n".join(lines)


def _status(one: StandardSet, scored: int) -> str:
    if not scored:
        return "configured, but no row of it was scored"
    if one.rows is not None and scored != one.rows:
        return f"a part: {scored} of {one.rows} rows, not comparable with published figures"
    return "scored"


def _figures(part: pl.DataFrame, task: str, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for figure in TASK_FIGURES[task]:
        for mode in part["mode"].unique().sort():
            interval = interval_of(rows_of(part.filter(mode=mode), figure), figure, seed)
            if interval is not None:
                ends = {"rate": interval.value, "rate_low": interval.low, "rate_high": interval.high}
                figures.setdefault(figure.name, {})[mode] = {
                    name: round(value, _DIGITS) for name, value in ends.items()
                }
    return figures
