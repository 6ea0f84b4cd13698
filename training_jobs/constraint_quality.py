"""What constraining MCTP steps to audio words costs or saves: the same rows and modes, decoded both ways."""

from __future__ import annotations

from typing import Any

import polars as pl

from training_jobs.bootstrap import paired_difference
from training_jobs.evaluation_figures import ONE, Figure, counts, interval_of, rows_of, speakers
from training_jobs.schedule_quality import points, share

UNMEASURED = "Not measured: `evaluation.constraint_modes` is empty."
_FIGURES = {"wer": Figure("wer", "word_errors", "words"), "exact": Figure("exact", "exact", ONE)}
_ROW = ("task", "corpus", "row_id")
_SCHEMA: dict[str, Any] = {
    "task": pl.String,
    "mode": pl.String,
    "rows": pl.Int64,
    **{
        f"{name}_{part}": pl.Float64
        for name in _FIGURES
        for part in ("full", "constrained", "difference", "difference_low", "difference_high")
    },
    "same_text": pl.Float64,
    "tokens_per_second_full": pl.Float64,
    "tokens_per_second_constrained": pl.Float64,
}


def constraint_table(full: pl.DataFrame, constrained: pl.DataFrame, seed: int) -> pl.DataFrame:
    """One row per task and decode mode that both tables of scored rows have; of the same rows.

    ``…_difference`` is constrained minus full head on the same rows, resampled together, with its 95 % interval;
    ``same_text`` the share of rows whose text is the same to the letter. ``tokens_per_second`` is that of the
    evaluation, for transcripts, as :func:`training_jobs.schedule_quality.schedule_table` has it. A figure without a
    unit (no reference word) is absent.
    """
    records = []
    for task, mode in sorted(constrained.select("task", "mode").unique().iter_rows()):
        free, bound = (table.filter(task=task, mode=mode).sort(_ROW) for table in (full, constrained))
        assert free.select(_ROW).equals(bound.select(_ROW)), "each row is decoded both ways or not at all"
        record: dict[str, Any] = {"task": task, "mode": mode, "rows": free.height}
        for name, figure in _FIGURES.items():
            record |= _figure(name, figure, free, bound, seed)
        record["same_text"] = bound["hypothesis"].eq_missing(free["hypothesis"]).mean()
        if task == "asr":
            for side, part in (("full", free), ("constrained", bound)):
                record[f"tokens_per_second_{side}"] = sum(part["new_tokens"]) / sum(part["seconds"])
        records.append(record)
    return pl.DataFrame(records, schema=_SCHEMA)


def _figure(
    name: str, figure: Figure, full: pl.DataFrame, constrained: pl.DataFrame, seed: int
) -> dict[str, float]:
    values = [interval_of(rows_of(part, figure), figure, seed) for part in (full, constrained)]
    if values[0] is None or values[1] is None:
        return {}
    groups = speakers(full)
    cost = paired_difference(*counts(constrained, figure), *counts(full, figure), seed, groups=groups)
    return {
        f"{name}_full": values[0].value,
        f"{name}_constrained": values[1].value,
        f"{name}_difference": cost.value,
        f"{name}_difference_low": cost.low,
        f"{name}_difference_high": cost.high,
    }


def constraint_markdown(table: pl.DataFrame) -> str:
    """A line per task and mode; differences in percentage points."""
    head = [
        "task",
        "mode",
        "rows",
        "WER, full head",
        "constrained",
        "difference",
        "exact, full head",
        "constrained",
        "difference",
        "same text",
        "tokens/s, full head",
        "constrained",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    for record in table.iter_rows(named=True):
        cells = [record["task"], record["mode"], str(record["rows"])]
        for name in _FIGURES:
            cells += [share(record[f"{name}_full"]), share(record[f"{name}_constrained"])]
            cells.append(points(record, f"{name}_difference"))
        cells.append(share(record["same_text"]))
        for side in ("full", "constrained"):
            speed = record[f"tokens_per_second_{side}"]
            cells.append("–" if speed is None else f"{speed:,.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
