"""The step ``audio_quality``: the measures of each utterance's sound, and of its text against it."""

# ruff: noqa: S608 - statements are made of names of columns and quoted paths
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import polars as pl

from assets.audio.listening import HEARD_KEY, LISTENED, listen, listening_digest
from assets.audio.results import keyed_sql, results_path, same_key, with_results
from assets.corpora.config import CorpusEntry
from validation.batches import batches_of, database, files_of, frame_of, parquet, spool, write_batches
from validation.digests import digest_stream, digest_value
from validation.errors import UserError
from validation.lake import Lake
from validation.listening.error_rates import error_rates
from validation.ordering import Rows
from validation.schemas import polars_schema
from validation.steps import StepOutcome, run_step, table_digest
from validation.text.rates import SpeakingRates, chars_per_second_expr, with_rate_deviation
from validation.thresholds import primary_language

STEP = "audio_quality"
_RECIPE = 4
_MEDIANS = ("duration_s", "level_dbfs", "loudness_lufs", "snr_db", "bandwidth_hz", "chars_per_second")
_ERROR_RATES = ("word_error_rate", "char_error_rate")
_OF_TEXT = ("chars_per_second", "rate_deviation", *_ERROR_RATES)
# Of the raw row: what the measures of the text are taken from.
_OF_ROW = ("corpus", "utterance_id", "text", "language")


def measure_corpus(entry: CorpusEntry, lake: Lake, workers: int = 1) -> StepOutcome:
    """Write ``audio_quality``, from the signal measures that ``audio_22k`` took of the source while decoding it.

    Added to them: characters per second and how far they are from the corpus' own; and, where the entry turns models
    on, what those hear, in ``workers`` processes; recordings that cannot be read then are heard in the next run.
    Whatever the corpus' size, a batch of it is in memory at once.

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

    def is_whole() -> bool:
        manifest = lake.read_manifest(STEP, corpus)
        return manifest is not None and not manifest["summary"].get("unread")

    return run_step(
        lake, STEP, corpus, inputs, outputs, lambda: _compute(entry, lake, workers), is_whole=is_whole
    )


def _compute(entry: CorpusEntry, lake: Lake, workers: int) -> dict[str, Any]:
    corpus = entry.name
    unheard = 0
    with database(lake) as connection, spool() as measured:
        heard, unread = _heard(connection, entry, lake, workers)
        rates = SpeakingRates()
        for batch in _with_measures(lake, corpus, heard):
            timed = _with_error_rates(batch.with_columns(chars_per_second=chars_per_second_expr()))
            unheard += timed.filter(pl.all_horizontal(pl.col(LISTENED).is_null())).height
            rates.add(timed)
            measured.add(timed.drop("text"))
        height = write_batches(
            lake, "audio_quality", corpus, _finished(measured.batches(), rates.distribution())
        )
        medians = _medians(connection, files_of(lake, "audio_quality", [corpus]))
    summary = {"rows": height, "medians": medians}
    return {**summary, "unheard": unheard, "unread": unread} if entry.models.listens else summary


def _despite(connection: duckdb.DuckDBPyConnection, lake: Lake, corpus: str) -> str:
    """Expression for the fault that a row's audio was stored in spite of."""
    # Not from the decisions: there may be new ones, which audio_22k has not heard of.
    accepted = f"(SELECT utterance_id, despite FROM {files_of(lake, 'audio_22k', [corpus])} WHERE despite IS NOT NULL)"
    if frame_of(connection, f"SELECT 1 FROM {accepted} LIMIT 1").is_empty():
        return "NULL::VARCHAR"
    return f"(SELECT a.despite FROM {accepted} a WHERE a.utterance_id = raw.utterance_id)"


def _heard(
    connection: duckdb.DuckDBPyConnection, entry: CorpusEntry, lake: Lake, workers: int
) -> tuple[Iterator[pl.DataFrame] | None, int]:
    """What the models heard of each row that has measures, in the order of the corpus; ``None`` where none is on.

    With it, of how many segments the recordings could not be read.
    """
    despite = _despite(connection, lake, entry.name)
    rows = keyed_sql(files_of(lake, "raw_utterances", [entry.name]), despite)
    results = f"(SELECT * FROM {parquet(lake, [results_path(entry.name)])} WHERE reason IS NULL)"
    stored = f"(SELECT w.* FROM {rows} w SEMI JOIN {results} r ON {same_key('w', 'r')})"
    heard = listen(connection, entry, stored, lake, workers)
    if heard is None:
        return None, 0
    columns = ", ".join(f'h."{name}"' for name in LISTENED)
    rows_heard = batches_of(
        connection,
        f"SELECT {columns} FROM {stored} w LEFT JOIN {heard.relation} h ON {same_key('w', 'h', HEARD_KEY)} "
        "ORDER BY w.number",
    )
    return rows_heard, heard.unread


def _with_measures(lake: Lake, corpus: str, heard: Iterator[pl.DataFrame] | None) -> Iterator[pl.DataFrame]:
    """The rows that have measures, in the order of the corpus, with what was heard of them."""
    listened = Rows(heard) if heard is not None else None
    kinds = {name: pl.String if name == "heard_text" else pl.Float64 for name in LISTENED}
    schema = polars_schema("audio_quality")
    measures = [name for name in schema if name not in (*_OF_ROW, *_OF_TEXT, *LISTENED)]
    for batch in with_results(lake, corpus, _OF_ROW):
        rows = batch.filter(pl.col("reason").is_null()).select(*_OF_ROW, *measures)
        if rows.is_empty():
            continue
        said = None if listened is None else listened.take(rows.height)
        nothing = (pl.lit(None, kind).alias(name) for name, kind in kinds.items())
        yield rows.with_columns(nothing) if said is None else rows.hstack(said)
    assert listened is None or listened.take(1) is None


def _finished(batches: Iterator[pl.DataFrame], distribution: pl.DataFrame) -> Iterator[pl.DataFrame]:
    schema = polars_schema("audio_quality")
    for batch in batches:
        rated = with_rate_deviation(batch, distribution)
        yield rated.select(pl.col(name).cast(kind, strict=True) for name, kind in schema.items())


def _with_error_rates(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with what was heard against their transcripts; null without either."""
    if rows["heard_text"].null_count() == rows.height:
        return rows.with_columns(pl.lit(None, dtype=pl.Float64).alias(name) for name in _ERROR_RATES)
    found = [
        (None, None) if heard is None or not text.strip() else error_rates(text, heard, primary_language(tag))
        for text, heard, tag in rows.select("text", "heard_text", "language").iter_rows()
    ]
    rates = pl.DataFrame(found, schema=dict.fromkeys(_ERROR_RATES, pl.Float64), orient="row")
    return rows.with_columns(rates[name] for name in _ERROR_RATES)


def _medians(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, float | None]:
    """Of each measure, to three decimals.

    DuckDB's own median holds all values in memory; groups and windows go to disk where there are too many.
    """
    return {name: frame_of(connection, _median_sql(name, table)).item() for name in _MEDIANS}


def _median_sql(name: str, table: str) -> str:
    return f"""
        WITH counted AS (SELECT round("{name}", 3) AS value, count(*) AS rows FROM {table} GROUP BY value),
        ordered AS (
            SELECT value, sum(rows) OVER (ORDER BY value) AS behind, sum(rows) OVER () AS total
            FROM counted WHERE value IS NOT NULL
        )
        SELECT round((min(value) FILTER (behind >= (total + 1) // 2) + min(value) FILTER (behind > total // 2)) / 2, 3)
        FROM ordered"""


def _results_digest(lake: Lake, corpus: str) -> str:
    path = results_path(corpus)
    if not lake.exists(path):
        raise UserError(f"corpus {corpus!r}: {lake.uri(path)} is missing; run the step audio_22k first")
    with lake.open(path) as stream:
        return digest_stream(stream)
