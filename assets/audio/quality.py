"""The step ``audio_quality``: the signal measures of each utterance, and its text against its duration."""

from __future__ import annotations

from typing import Any

import polars as pl

from assets.audio.results import join_results, read_results, results_path, with_keys
from assets.corpora.config import CorpusEntry
from validation.digests import digest_stream, digest_value
from validation.errors import UserError
from validation.lake import Lake
from validation.measures import chars_per_second
from validation.schemas import polars_schema
from validation.steps import StepOutcome, run_step, table_digest

STEP = "audio_quality"
_RECIPE = 1
_MEDIANS = ("duration_s", "level_dbfs", "snr_db", "bandwidth_hz", "chars_per_second")


def measure_corpus(entry: CorpusEntry, lake: Lake) -> StepOutcome:
    """Write ``audio_quality`` from the measures that ``audio_22k`` took of the source while decoding it.

    Raises:
        UserError: if ``audio_22k`` of this corpus has not been made.
    """
    corpus = entry.name
    digests = {name: table_digest(lake, name, corpus) for name in ("raw_utterances", "audio_22k")}
    inputs = digest_value({"recipe": _RECIPE, **digests, "measures": _results_digest(lake, corpus)})
    outputs = [lake.table_path("audio_quality", corpus)]
    return run_step(lake, STEP, corpus, inputs, outputs, lambda: _compute(corpus, lake))


def _compute(corpus: str, lake: Lake) -> dict[str, Any]:
    rows = join_results(with_keys(lake.read_table("raw_utterances", corpus)), read_results(lake, corpus))
    stored = rows.filter(pl.col("reason").is_null())
    rates = map(chars_per_second, stored["text"], stored["duration_s"])
    frame = stored.with_columns(chars_per_second=pl.Series(rates, dtype=pl.Float64)).select(
        list(polars_schema("audio_quality"))
    )
    lake.write_table("audio_quality", corpus, frame)
    medians = frame.select(pl.col(_MEDIANS).median()).row(0, named=True)
    return {"rows": frame.height, "medians": {name: _rounded(value) for name, value in medians.items()}}


def _results_digest(lake: Lake, corpus: str) -> str:
    path = results_path(corpus)
    if not lake.exists(path):
        raise UserError(f"corpus {corpus!r}: {lake.uri(path)} is missing; run the step audio_22k first")
    with lake.open(path) as stream:
        return digest_stream(stream)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
