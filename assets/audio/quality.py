"""The step ``audio_quality``: the signal measures of each utterance, and its text against its duration."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import polars as pl

from assets.audio.decode import Segment
from assets.audio.results import read_results, result_key, results_path
from assets.audio.work import StoredAudio
from assets.corpora.config import CorpusEntry
from validation.digests import digest_stream, digest_value
from validation.errors import UserError
from validation.lake import Lake
from validation.measures import chars_per_second
from validation.schemas import frame_from_rows
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
    results = read_results(lake, corpus)
    raw = lake.read_table("raw_utterances", corpus).filter(pl.col("audio_uri").is_not_null())
    rows = []
    for row in raw.iter_rows(named=True):
        segment = Segment(row["segment_start_s"] or 0.0, row["segment_end_s"])
        result = results[result_key(row["source_digest"], row["audio_uri"], segment)]
        if not isinstance(result, StoredAudio):
            continue
        measured = asdict(result.measures)
        rows.append(
            {
                "corpus": corpus,
                "utterance_id": row["utterance_id"],
                "source_rate_hz": result.source_rate_hz,
                "chars_per_second": chars_per_second(row["text"], result.measures.duration_s),
                **measured,
            }
        )
    frame = frame_from_rows("audio_quality", rows)
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
