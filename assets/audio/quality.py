"""The step ``audio_quality``: the measures of each utterance's sound, and of its text against it."""

from __future__ import annotations

from typing import Any

import polars as pl

from assets.audio.listening import LISTENED, listen, listening_digest
from assets.audio.results import join_results, read_results, results_path, with_keys
from assets.corpora.config import CorpusEntry
from validation.digests import digest_stream, digest_value
from validation.errors import UserError
from validation.lake import Lake
from validation.listening.error_rates import error_rates
from validation.measures import chars_per_second
from validation.schemas import polars_schema
from validation.steps import StepOutcome, run_step, table_digest
from validation.text.measures import rate_deviation
from validation.thresholds import primary_language

STEP = "audio_quality"
_RECIPE = 2
_MEDIANS = ("duration_s", "level_dbfs", "loudness_lufs", "snr_db", "bandwidth_hz", "chars_per_second")


def measure_corpus(entry: CorpusEntry, lake: Lake, workers: int = 1) -> StepOutcome:
    """Write ``audio_quality``, from the signal measures that ``audio_22k`` took of the source while decoding it.

    Added to them: characters per second and how far they are from the corpus' own; and, where the entry turns models
    on, what those hear, in ``workers`` processes.

    Raises:
        UserError: if ``audio_22k`` of this corpus has not been made.
        ConfigurationError: if the package of a model that is turned on is missing.
    """
    corpus, models = entry.name, entry.models
    digests: dict[str, Any] = {
        name: table_digest(lake, name, corpus) for name in ("raw_utterances", "audio_22k")
    }
    if models.listens:
        digests["models"] = listening_digest(models, entry.audio.channels)
    inputs = digest_value({"recipe": _RECIPE, **digests, "measures": _results_digest(lake, corpus)})
    outputs = [lake.table_path("audio_quality", corpus)]
    return run_step(lake, STEP, corpus, inputs, outputs, lambda: _compute(entry, lake, workers))


def _compute(entry: CorpusEntry, lake: Lake, workers: int) -> dict[str, Any]:
    corpus, models = entry.name, entry.models
    rows = join_results(with_keys(lake.read_table("raw_utterances", corpus)), read_results(lake, corpus))
    stored = rows.filter(pl.col("reason").is_null())
    heard = listen(corpus, stored, models, entry.audio.channels, lake, workers)
    rates = map(chars_per_second, heard["text"], heard["duration_s"])
    timed = heard.with_columns(chars_per_second=pl.Series(rates, dtype=pl.Float64))
    rated = _with_error_rates(timed.with_columns(rate_deviation=rate_deviation("chars_per_second")))
    frame = rated.select(
        pl.col(name).cast(kind, strict=True) for name, kind in polars_schema("audio_quality").items()
    )
    lake.write_table("audio_quality", corpus, frame)
    medians = frame.select(pl.col(_MEDIANS).median()).row(0, named=True)
    summary = {"rows": frame.height, "medians": {name: _rounded(value) for name, value in medians.items()}}
    if models.listens:
        summary["unheard"] = heard.filter(pl.all_horizontal(pl.col(LISTENED).is_null())).height
    return summary


def _with_error_rates(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with what was heard against their transcripts; null without either."""
    found = [
        (None, None) if heard is None or not text.strip() else error_rates(text, heard, primary_language(tag))
        for text, heard, tag in rows.select("text", "heard_text", "language").iter_rows()
    ]
    names = ("word_error_rate", "char_error_rate")
    rates = pl.DataFrame(found, schema=dict.fromkeys(names, pl.Float64), orient="row")
    return rows.with_columns(rates[name] for name in names)


def _results_digest(lake: Lake, corpus: str) -> str:
    path = results_path(corpus)
    if not lake.exists(path):
        raise UserError(f"corpus {corpus!r}: {lake.uri(path)} is missing; run the step audio_22k first")
    with lake.open(path) as stream:
        return digest_stream(stream)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
