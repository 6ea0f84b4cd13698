"""The step ``accepted_utterances``: contract and thresholds, one ledger row for every utterance that is left."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import polars as pl

from assets.corpora.config import CorpusEntry
from assets.corpora.conversation import count_markers
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
from validation.schemas import TableName, frame_from_rows, polars_schema
from validation.steps import StepOutcome, run_step, table_digest
from validation.thresholds import Thresholds, load_thresholds, violations

STEP: Stage = "accepted_utterances"
_RECIPE = 1


def accept(entry: CorpusEntry, lake: Lake, thresholds: Thresholds | None = None) -> StepOutcome:
    """Keep the utterances whose audio was stored and whose measures are within the thresholds.

    Text rows have no audio to fail. A conversation is kept only with all of its audio: an utterance that would be
    good but has lost a companion is rejected as ``companion_lost``.

    Args:
        thresholds: The project's by default; the entry's own go over them.

    Raises:
        validation.lake.MissingTableError: if an earlier step has not been done.
        validation.thresholds.ThresholdError: if the entry overrides what there is not.
    """
    limits = (thresholds or load_thresholds()).overridden(entry.thresholds)
    corpus = entry.name
    names: tuple[TableName, ...] = ("raw_utterances", "audio_22k", "audio_quality")
    digests = {name: table_digest(lake, name, corpus) for name in names}
    inputs = digest_value({"recipe": _RECIPE, "thresholds": limits.model_dump(mode="json"), **digests})
    outputs = [
        lake.table_path("accepted_utterances", corpus),
        lake.table_path("ledger", ledger_partition(corpus, STEP)),
    ]
    return run_step(lake, STEP, corpus, inputs, outputs, lambda: _compute(corpus, lake, limits))


def _compute(corpus: str, lake: Lake, limits: Thresholds) -> dict[str, Any]:
    rows = _candidates(corpus, lake)
    problems = {
        row["utterance_id"]: _violation(corpus, row, limits) for row in rows if row["level_dbfs"] is not None
    }
    good = [row for row in rows if problems.get(row["utterance_id"]) is None]
    survivors = Counter(row["conversation_id"] for row in good if row["marker"] is not None)
    accepted: list[dict[str, Any]] = []
    ledger: list[LedgerRow] = []
    columns = list(polars_schema("accepted_utterances"))
    for row in rows:
        ended = problems.get(row["utterance_id"]) or _companion_lost(corpus, row, survivors)
        if ended is None:
            accepted.append({name: row[name] for name in columns})
            ended = LedgerRow(
                corpus, row["utterance_id"], row["source"], STEP, "accepted", "within all thresholds"
            )
        ledger.append(ended)
    frame = frame_from_rows("accepted_utterances", accepted)
    lake.write_table("accepted_utterances", corpus, frame)
    write_ledger_part(lake, corpus, STEP, ledger)
    whole = read_ledger(lake, corpus)
    hours = float(frame["duration_s"].sum() or 0.0) / 3600
    outcomes = dict(whole.group_by("outcome").len().sort("outcome").iter_rows())
    splits = dict(frame.group_by("split").len().sort("split").iter_rows())
    figures = {"outcomes": outcomes, "reasons": count_reasons(whole), "splits": splits}
    return {"rows": frame.height, "hours": round(hours, 4), **figures}


def _candidates(corpus: str, lake: Lake) -> list[dict[str, Any]]:
    """The utterances that reached this step, with audio and measures, in the order of the corpus.

    An utterance whose audio ended in ``audio_22k`` is not among them: it has its ledger row.
    """
    raw = lake.read_table("raw_utterances", corpus)
    audio = lake.read_table("audio_22k", corpus).select("utterance_id", "audio_path", "audio_digest")
    quality = lake.read_table("audio_quality", corpus).drop("corpus")
    stored = audio.join(quality, on="utterance_id", how="inner", validate="1:1")
    joined = raw.join(stored, on="utterance_id", how="left", validate="1:1", maintain_order="left")
    kept = joined.filter(pl.col("audio_uri").is_null() | pl.col("audio_path").is_not_null())
    return kept.to_dicts()


def _violation(corpus: str, row: dict[str, Any], limits: Thresholds) -> LedgerRow | None:
    found = violations(limits, row, row["language"])
    if not found:
        return None
    first = found[0]
    # All are told; the first and most important one is the reason.
    detail = f"{row['source']}: {row['audio_uri']}: " + "; ".join(one.detail for one in found)
    return LedgerRow(
        corpus, row["utterance_id"], row["source"], STEP, first.reason, detail, first.value, first.limit
    )


def _companion_lost(corpus: str, row: dict[str, Any], survivors: Counter[str]) -> LedgerRow | None:
    if row["marker"] is None:
        return None
    wanted, left = count_markers(json.loads(row["messages"])), survivors[row["conversation_id"]]
    if left == wanted:
        return None
    conversation = row["conversation_id"]
    detail = (
        f"{row['source']}: only {left} of the {wanted} audios of conversation {conversation!r} were accepted"
    )
    place = (corpus, row["utterance_id"], row["source"])
    return LedgerRow(*place, STEP, "companion_lost", detail, float(left), float(wanted))
