"""The files of a finished pack: arrays, the samples of each row by name, and the plan that says what it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from validation.atomic import write_text

PLAN_FILE = "plan.json"
# ``<name>.npy``, rows x sequence length: token ids as int32, and whether each is learnt, as a bit.
# Labels and position ids follow from these and the samples' sizes, and would take two thirds of a pack.
ARRAYS = ("input_ids", "is_learnt")
ROW_TOKENS_FILE = "row_tokens.npy"  # int32: tokens of each row, the rest is padding
ROW_SAMPLES_FILE = "row_samples.npy"  # int64, rows + 1: where each row's samples begin in the next one
SAMPLE_TOKENS_FILE = (
    "sample_tokens.npy"  # int32, samples x 2: tokens of each, and its task (number in the plan's list)
)
# Of an audio tokenizer: digests of the audio that it was trained from.
RECORDINGS_FILE = "recordings.parquet"
# One line per sample, in the order of rows and of samples in a row: which training row it is, and whose.
SAMPLES_FILE = "samples.parquet"
# One line per training row, those without a sample included: what became of it, as in the table ``sample_ledger``.
SAMPLE_LEDGER_FILE = "sample_ledger.parquet"
SAMPLES_SCHEMA: dict[str, Any] = {
    "row": pl.Int64,
    "corpus": pl.String,
    "row_id": pl.String,
    "tokens": pl.Int32,
    "utterance_ids": pl.List(pl.String),
    "audio_digests": pl.List(pl.String),
    "speakers": pl.List(pl.String),
    "licences": pl.List(pl.String),
}


def read_plan(packs_dir: Path) -> dict[str, Any]:
    """The plan of a finished pack."""
    value = json.loads((packs_dir / PLAN_FILE).read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def write_plan(packs_dir: Path, plan: dict[str, Any]) -> None:
    """Write the plan, atomically."""
    write_text(packs_dir / PLAN_FILE, json.dumps(plan, sort_keys=True, ensure_ascii=False))


def names_of_rows(packs_dir: Path, rows: Sequence[int]) -> dict[int, list[str]]:
    """Names (``corpus/row_id``) of the samples of these packed rows."""
    samples = pl.scan_parquet(packs_dir / SAMPLES_FILE).filter(pl.col("row").is_in(list(rows)))
    names: dict[int, list[str]] = {row: [] for row in rows}
    for row, corpus, row_id in samples.select("row", "corpus", "row_id").collect().iter_rows():
        names[row].append(f"{corpus}/{row_id}")
    return names
