"""Figures by language, speaker group, speaker, duration and signal-to-noise ratio, each with rows and interval."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import polars as pl

from training_jobs.evaluation_figures import Figure, interval_of, rows_of, speakers
from training_jobs.evaluation_tables import with_interval

SLICES_FILE = "slices.parquet"
FEW_ROWS = 30
_MOST_SPEAKERS = 50  # of a task in result.json; the file and MLflow's table have all
_SPEAKERS_SHOWN = 10
_SECONDS = (1, 2, 5, 10, 20)
_DECIBELS = (0, 10, 20, 30, 40)
_NOT_MEASURED = "not measured"
TASK_FIGURES = {
    "asr": (Figure("wer", "word_errors", "words"), Figure("exact", "exact")),
    "tts": (Figure("wer", "word_errors", "words"), Figure("heard_wer", "heard_errors", "words")),
    "sqa": tuple(Figure(name, name) for name in ("exact", "contains", "spoken_contains", "heard_contains")),
}
_ERRORS = ("wer", "heard_wer")  # of the others, more is better

By = Literal["language", "speaker_group", "speaker", "duration", "snr"]
_BY: dict[By, str] = {
    "language": "language",
    "speaker_group": "speaker_group",
    "speaker": "voice",
    "duration": "duration",
    "snr": "snr",
}
_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("task", "by", "value", "mode", "figure"), pl.String),
    **dict.fromkeys(("rows", "speakers"), pl.Int64),
    **dict.fromkeys(("rate", "rate_low", "rate_high"), pl.Float64),
}


def slice_table(table: pl.DataFrame, seed: int) -> pl.DataFrame:
    """One row per task, slice, mode and figure, bands in their order; slices without rows are not there."""
    bands = [_band_labels(_SECONDS, "s"), _band_labels(_DECIBELS, "dB")]
    labelled = table.with_columns(
        duration=_banded("audio_s", _SECONDS, bands[0]),
        snr=_banded("snr_db", _DECIBELS, bands[1]),
        voice=pl.concat_str("corpus", pl.lit(" / "), "speaker"),
    )
    places = {label: place for labels in bands for place, label in enumerate(labels)}
    records = []
    for by, column in _BY.items():
        parts = labelled.sort("corpus", "row_id").partition_by("task", column, "mode", as_dict=True)
        for task, value, mode in sorted(parts, key=lambda key: (key[0], places.get(key[1], 0), key[1:])):
            # What is to be read aloud is heard by nobody before.
            if not (task == "tts" and by == "snr"):
                head = {"task": task, "by": by, "value": value, "mode": mode}
                records += _records(parts[task, value, mode], head, seed)
    return pl.DataFrame(records, schema=_SCHEMA)


def shortened(slices: pl.DataFrame) -> tuple[list[dict[str, Any]], int]:
    """The slices for ``result.json``, of each task's speakers the worst; and how many speakers were left out."""
    kept, left_out = [], 0
    for (_, by), part in slices.group_by("task", "by", maintain_order=True):
        worst = _worst_first(part)
        shown = worst[:_MOST_SPEAKERS] if by == "speaker" else worst
        left_out += len(worst) - len(shown)
        kept += part.filter(pl.col("value").is_in(shown)).to_dicts()
    return kept, left_out


def slices_markdown(slices: pl.DataFrame, modes: Sequence[str]) -> str:
    """A line per slice and figure, the modes side by side; of the speakers the worst."""
    head = ["task", "by", "slice", "rows", "voices", "figure", *modes]
    lines = ["| " + " | ".join(head) + " |", "|---|---|---|---:|---:|---|" + "---:|" * len(modes)]
    hidden = 0
    for (task, by), part in slices.group_by("task", "by", maintain_order=True):
        values = list(dict.fromkeys(part["value"]))
        if by == "speaker":
            hidden += max(0, len(values) - _SPEAKERS_SHOWN)
            values = _worst_first(part)[:_SPEAKERS_SHOWN]
        for value in values:
            for (figure,), cells in part.filter(value=value).group_by("figure", maintain_order=True):
                by_mode = {one["mode"]: one for one in cells.to_dicts()}
                one = next(iter(by_mode.values()))
                name = value.replace("|", "\\|").replace("\n", " ")
                shown = [task, by.replace("_", " "), name, str(one["rows"]), str(one["speakers"]), figure]
                shown += [with_interval(by_mode[mode], "rate", "rate") for mode in modes if mode in by_mode]
                lines.append("| " + " | ".join(shown) + " |")
    more = f" {hidden} more speakers did better; all are in {SLICES_FILE}." if hidden else ""
    return "\n".join([*lines, "", _LEGEND + more])


_LEGEND = (
    f"In brackets: 95 % bootstrap intervals. With fewer than {FEW_ROWS} rows they are too narrow, and rows that are "
    "all right or all wrong have none to speak of."
)


def _records(part: pl.DataFrame, head: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    records = []
    for figure in TASK_FIGURES[head["task"]]:
        rows = rows_of(part, figure)
        interval = interval_of(rows, figure, seed)
        if interval is not None:
            ends = {"rate": interval.value, "rate_low": interval.low, "rate_high": interval.high}
            count = {"rows": rows.height, "speakers": len(set(speakers(rows)))}
            records.append({**head, "figure": figure.name, **count, **ends})
    return records


def _worst_first(part: pl.DataFrame) -> list[str]:
    """The slices' names by their first figure, in the mode that does worst in it."""
    first = part.filter(figure=part["figure"][0])
    worse = pl.col("rate") if part["figure"][0] in _ERRORS else -pl.col("rate")
    ranked = (
        first.group_by("value")
        .agg(worse.max().alias("worse"))
        .sort("worse", "value", descending=[True, False])
    )
    return ranked["value"].to_list()


def _band_labels(edges: Sequence[int], unit: str) -> list[str]:
    between = [f"{low} to {high} {unit}" for low, high in pairwise(edges)]
    return [f"below {edges[0]} {unit}", *between, f"{edges[-1]} {unit} and more", _NOT_MEASURED]


def _banded(column: str, edges: Sequence[int], labels: Sequence[str]) -> pl.Expr:
    bands = [
        pl.when(pl.col(column) < edge).then(pl.lit(name)) for edge, name in zip(edges, labels, strict=False)
    ]
    within = pl.coalesce(*bands, pl.lit(labels[len(edges)]))
    return pl.when(pl.col(column).is_null()).then(pl.lit(_NOT_MEASURED)).otherwise(within)
