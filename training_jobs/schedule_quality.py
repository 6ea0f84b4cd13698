"""What each decode schedule costs in quality: its replies beside Vanilla's on the same rows."""

from __future__ import annotations

from typing import Any

import polars as pl

from training_jobs.bootstrap import paired_difference
from training_jobs.evaluation_figures import ONE, Figure, counts, interval_of, rows_of, speakers
from training_jobs.evaluation_rows import EvaluationError
from training_jobs.spec import MODES

BASE = "vanilla"
_FIGURES = {"wer": Figure("wer", "word_errors", "words"), "exact": Figure("exact", "exact", ONE)}
_ROW = ("task", "corpus", "row_id")
_SCHEMA: dict[str, Any] = {
    "task": pl.String,
    "mode": pl.String,
    "rows": pl.Int64,
    **{
        f"{name}{end}": pl.Float64
        for name in _FIGURES
        for end in ("", "_low", "_high", "_minus_vanilla", "_minus_vanilla_low", "_minus_vanilla_high")
    },
    "same_as_vanilla": pl.Float64,
    "tokens_per_second": pl.Float64,
}


def schedule_table(table: pl.DataFrame, seed: int) -> pl.DataFrame:
    """One row per task and decode mode, from the table of scored rows.

    ``wer`` and ``exact`` have 95 % intervals; ``…_minus_vanilla`` is the difference on the same rows, resampled
    together; ``same_as_vanilla`` the share of rows whose text is Vanilla's to the letter. ``tokens_per_second`` is that
    of the evaluation, on a machine that decodes several rows at once: for tasks whose rows also take the time of
    reading speech back it is absent, and for comparisons there is the latency benchmark. A figure without a unit (no
    reference word) is absent; Vanilla has no difference.

    Raises:
        EvaluationError: if the rows were not scored in Vanilla.
    """
    scored = set(table["mode"])
    if BASE not in scored:
        raise EvaluationError(
            f"schedules are compared to {BASE}, but rows were scored in {sorted(scored)} only"
        )
    records = []
    for task in table["task"].unique().sort():
        of_task = table.filter(task=task)
        base = of_task.filter(mode=BASE).sort(_ROW)
        for mode in (one for one in MODES if one in scored):
            part = of_task.filter(mode=mode).sort(_ROW)
            record: dict[str, Any] = {"task": task, "mode": mode, "rows": part.height}
            for name, figure in _FIGURES.items():
                record |= _figure(name, figure, part, base, seed)
            if mode != BASE:
                same = part["hypothesis"].eq_missing(base["hypothesis"])
                record["same_as_vanilla"] = same.mean()
            if task == "asr":
                record["tokens_per_second"] = sum(part["new_tokens"]) / sum(part["seconds"])
            records.append(record)
    return pl.DataFrame(records, schema=_SCHEMA)


def _figure(name: str, figure: Figure, part: pl.DataFrame, base: pl.DataFrame, seed: int) -> dict[str, float]:
    interval = interval_of(rows_of(part, figure), figure, seed)
    if interval is None:
        return {}
    record = {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    if part["mode"][0] != BASE:
        assert part.select(_ROW).equals(base.select(_ROW)), "each row is scored in every mode or in none"
        worse = paired_difference(*counts(part, figure), *counts(base, figure), seed, groups=speakers(part))
        record |= {
            f"{name}_minus_vanilla": worse.value,
            f"{name}_minus_vanilla_low": worse.low,
            f"{name}_minus_vanilla_high": worse.high,
        }
    return record


def schedules_markdown(schedules: pl.DataFrame) -> str:
    """A line per task and mode; differences in percentage points."""
    head = [
        "task",
        "mode",
        "rows",
        "WER",
        "− Vanilla's",
        "exact",
        "− Vanilla's",
        "same as Vanilla",
        "tokens/s",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
    for record in schedules.iter_rows(named=True):
        cells = [record["task"], record["mode"], str(record["rows"])]
        for name in _FIGURES:
            cells += [share(record[name]), points(record, f"{name}_minus_vanilla")]
        speed = record["tokens_per_second"]
        cells += [share(record["same_as_vanilla"]), "–" if speed is None else f"{speed:,.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def share(value: float | None) -> str:
    """A cell of a table."""
    return "–" if value is None else f"{value:.1%}"


def points(record: dict[str, Any], name: str) -> str:
    """A cell: a difference with its interval, in percentage points."""
    if record[name] is None:
        return "–"
    value, low, high = (100 * record[name + end] for end in ("", "_low", "_high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
