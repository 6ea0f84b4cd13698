"""The step ``accepted_utterances``: contract and thresholds, one ledger row for every utterance that is left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import polars as pl

from assets.corpora.config import CorpusEntry
from assets.corpora.conversation import AUDIO_MARKER
from validation.checks import CHECKS, NOTES, Check, is_outside, violations
from validation.digests import digest_value
from validation.lake import Lake
from validation.ledger import (
    LedgerRow,
    Stage,
    count_reasons,
    ledger_partition,
    read_ledger,
    write_ledger_part,
)
from validation.schemas import TableName, polars_schema
from validation.steps import StepOutcome, run_step, table_digest
from validation.text.measures import text_measures
from validation.text.normal import normal_text_expr
from validation.thresholds import Thresholds, load_thresholds

STEP: Stage = "accepted_utterances"
_RECIPE = 2


def accept(entry: CorpusEntry, lake: Lake) -> StepOutcome:
    """Keep the utterances whose audio was stored and whose measures are within the thresholds.

    Text rows have no audio to fail, but their text is measured as that of the others is. What is accepted has its text
    in normal form (:func:`validation.text.normal.normal_text`). A conversation is kept only with all of its audio: an
    utterance that would be good but has lost a companion is rejected as ``companion_lost``. The thresholds are the
    project's, and the entry's own over them.

    Raises:
        validation.lake.MissingTableError: if an earlier step has not been done.
        validation.thresholds.ThresholdError: if the entry overrides what there is not.
    """
    limits = load_thresholds().overridden(entry.thresholds)
    corpus = entry.name
    names: tuple[TableName, ...] = ("raw_utterances", "audio_22k", "audio_quality")
    digests = {name: table_digest(lake, name, corpus) for name in names}
    settings = {"thresholds": limits.model_dump(mode="json"), "language": entry.models.language}
    inputs = digest_value({"recipe": _RECIPE, **settings, **digests})
    outputs = [
        lake.table_path("accepted_utterances", corpus),
        lake.table_path("ledger", ledger_partition(corpus, STEP)),
    ]
    return run_step(
        lake, STEP, corpus, inputs, outputs, lambda: _compute(corpus, lake, limits, entry.models.language)
    )


def _compute(corpus: str, lake: Lake, limits: Thresholds, tells_language: bool) -> dict[str, Any]:
    rows = _candidates(corpus, lake)
    measured = _with_text_measures(rows, limits, tells_language)
    problems = _problems(corpus, measured, limits)
    rows = rows.with_columns(
        is_good=~pl.col("utterance_id").is_in(list(problems)),
        is_noted=is_outside(limits, rows.columns, NOTES),
    )
    rows = _with_companions(rows)
    kept = rows.filter("is_kept").with_columns(text=normal_text_expr("text"))
    frame = kept.select(list(polars_schema("accepted_utterances")))
    lake.write_table("accepted_utterances", corpus, frame)
    write_ledger_part(lake, corpus, STEP, _ledger(corpus, rows, problems, limits))
    whole = read_ledger(lake, corpus)
    hours = float(frame["duration_s"].sum() or 0.0) / 3600
    outcomes = dict(whole.group_by("outcome").len().sort("outcome").iter_rows())
    splits = dict(frame.group_by("split").len().sort("split").iter_rows())
    figures = {"outcomes": outcomes, "reasons": count_reasons(whole), "splits": splits}
    return {"rows": frame.height, "hours": round(hours, 4), **figures}


def _with_text_measures(rows: pl.DataFrame, limits: Thresholds, tells_language: bool) -> pl.DataFrame:
    """The rows with the measures of their texts; the text of a row without audio is what its messages say."""
    said = pl.when(pl.col("audio_uri").is_null() & pl.col("messages").is_not_null()).then(pl.col("messages"))
    texts = rows.with_columns(
        text=said.map_elements(_contents, return_dtype=pl.String).fill_null(pl.col("text"))
    ).drop("messages")
    measured = text_measures(texts, limits.unwanted_words)
    if tells_language:
        # Only here: the model's package is optional, and takes seconds to load.
        from validation.text.language import language_probabilities

        found = language_probabilities(measured["text"], measured["language"])
        measured = measured.with_columns(language_probability=pl.Series(found, dtype=pl.Float64))
    return measured.drop("text")


def _contents(messages: str) -> str:
    return "\n".join(message["content"] for message in json.loads(messages))


def _candidates(corpus: str, lake: Lake) -> pl.DataFrame:
    """The utterances that reached this step, with audio and measures, in the order of the corpus.

    An utterance whose audio ended in ``audio_22k`` is not among them: it has its ledger row.
    """
    raw = lake.read_table("raw_utterances", corpus)
    audio = lake.read_table("audio_22k", corpus).select("utterance_id", "audio_path", "audio_digest")
    quality = lake.read_table("audio_quality", corpus).drop("corpus")
    stored = audio.join(quality, on="utterance_id", how="inner", validate="1:1")
    joined = raw.join(stored, on="utterance_id", how="left", validate="1:1", maintain_order="left")
    return joined.filter(pl.col("audio_uri").is_null() | pl.col("audio_path").is_not_null())


def _with_companions(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with ``wanted`` and ``left``, the audios of their conversation, and ``is_kept``."""
    is_audio = pl.col("marker").is_not_null()
    counted = rows.with_columns(
        # In JSON the marker stands as it is.
        wanted=pl.col("messages").str.count_matches(AUDIO_MARKER, literal=True),
        left=(pl.col("is_good") & is_audio).sum().over("conversation_id"),
    )
    is_whole = is_audio.not_() | (pl.col("left") == pl.col("wanted"))
    return counted.with_columns(is_kept=pl.col("is_good") & is_whole)


def _problems(corpus: str, rows: pl.DataFrame, limits: Thresholds) -> dict[str, LedgerRow]:
    """What is wrong with each row that is outside a limit, by the row's id."""
    outside = rows.filter(is_outside(limits, rows.columns))
    return {
        row["utterance_id"]: _ledger_row(corpus, row, limits, CHECKS) for row in outside.iter_rows(named=True)
    }


def _ledger_row(corpus: str, row: dict[str, Any], limits: Thresholds, checks: tuple[Check, ...]) -> LedgerRow:
    found = violations(limits, row, row["language"], checks)
    first = found[0]
    # All are told; the first and most important one is the reason.
    place = row["source"] if row["audio_uri"] is None else f"{row['source']}: {row['audio_uri']}"
    detail = f"{place}: " + "; ".join(one.detail for one in found)
    return LedgerRow(
        corpus, row["utterance_id"], row["source"], STEP, first.reason, detail, first.value, first.limit
    )


def _ledger(
    corpus: str, rows: pl.DataFrame, problems: dict[str, LedgerRow], limits: Thresholds
) -> Iterator[LedgerRow]:
    told = {"utterance_id", "source", "audio_uri", "language", "conversation_id", "wanted", "left"}
    told |= {"is_kept", "is_noted", "duration_s", *(note.column for note in NOTES)}
    for row in rows.select(sorted(told)).iter_rows(named=True):
        utterance_id, source = row["utterance_id"], row["source"]
        if utterance_id in problems:
            yield problems[utterance_id]
        elif row["is_kept"] and row["is_noted"]:
            yield _ledger_row(corpus, row, limits, NOTES)
        elif row["is_kept"]:
            yield LedgerRow(corpus, utterance_id, source, STEP, "accepted", "within all thresholds")
        else:
            left, wanted, conversation = row["left"], row["wanted"], row["conversation_id"]
            detail = (
                f"{source}: only {left} of the {wanted} audios of conversation {conversation!r} were accepted"
            )
            numbers = (float(left), float(wanted))
            yield LedgerRow(corpus, utterance_id, source, STEP, "companion_lost", detail, *numbers)
