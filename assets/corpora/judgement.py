"""How a batch of utterances ends: by thresholds, by what people decided, and with the companions of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import polars as pl

from assets.corpora.conversation import AUDIO_MARKER
from validation.checks import NOTES, RowChecks, checks_of, is_outside
from validation.ledger import LedgerRow, Stage, ledger_frame
from validation.reasons import Reason
from validation.review import Decision, Decisions
from validation.text.measures import text_measures
from validation.text.normal import normal_text_expr
from validation.thresholds import Thresholds

_NAMED = ("utterance_id", "source", "audio_uri", "language", "fault")


class Judge:
    """Judges the utterances of one corpus, a batch at a time.

    Args:
        limits: The corpus' thresholds.
        decisions: What people decided about its quarantined rows; it comes before the thresholds.
        occurrences: As for :func:`validation.text.measures.text_measures`.
        tells_language: Whether the texts' language is to be told by a model.
    """

    def __init__(
        self,
        corpus: str,
        stage: Stage,
        limits: Thresholds,
        decisions: Decisions,
        occurrences: pl.DataFrame,
        tells_language: bool,
    ) -> None:
        self._corpus = corpus
        self._stage: Stage = stage
        self._limits = limits
        self._decisions = decisions
        self._decided = pl.Series(decisions.utterance_ids, dtype=pl.String)
        self._occurrences = occurrences
        self._tells_language = tells_language
        self._asked = checks_of(limits)
        self._checks = RowChecks(limits, self._asked)
        self._notes = RowChecks(limits, NOTES)
        # A hundred expressions, and the same for every batch.
        self._outside = cache(lambda columns, checks: is_outside(limits, columns, checks))

    def judge(self, batch: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows that are accepted, their text in normal form, and how each row of the batch ends, in its order.

        Args:
            batch: Utterances with their audio and measures, no conversation divided.
        """
        ended, decided = self._ended(self._with_text_measures(batch))
        bad = pl.Series([one.utterance_id for one in ended], dtype=pl.String)
        rows = _with_companions(batch.with_columns(is_good=~pl.col("utterance_id").is_in(bad.implode())))
        kept = rows.filter("is_kept")
        noted = self._noted(kept, decided)
        ends = self._ends(rows, ended, noted)
        corrected = {name: one.corrected_text for name, (one, _) in decided.items() if one.corrected_text}
        texts = pl.col("utterance_id").replace_strict(corrected, default=None, return_dtype=pl.String)
        kept = kept.with_columns(text=pl.coalesce(texts, "text")) if corrected else kept
        return kept.with_columns(text=normal_text_expr("text")), ends

    def _with_text_measures(self, rows: pl.DataFrame) -> pl.DataFrame:
        measured = text_measures(said(rows), self._limits.unwanted_words, self._occurrences)
        if self._tells_language:
            # Only here: the model's package is optional, and takes seconds to load.
            from validation.text.language import language_probabilities

            found = language_probabilities(measured["text"], measured["language"])
            measured = measured.with_columns(language_probability=pl.Series(found, dtype=pl.Float64))
        # What was decided upon is the row's own text.
        return measured.with_columns(rows["text"])

    def _ended(self, measured: pl.DataFrame) -> tuple[list[LedgerRow], dict[str, tuple[Decision, LedgerRow]]]:
        """Rows that end here for what they are, and those that are good because a person decided so."""
        is_decided = pl.col("utterance_id").is_in(self._decided.implode())
        asked = measured.filter(self._outside(tuple(measured.columns), self._asked) | is_decided)
        ended: list[LedgerRow] = []
        decided: dict[str, tuple[Decision, LedgerRow]] = {}
        for row in asked.iter_rows(named=True):
            problem = self._ledger_row(row, self._checks)
            decision = self._decisions.about(row, None if problem is None else problem.reason)
            if decision is None or (problem is not None and problem.outcome != "quarantined"):
                ended.extend([] if problem is None else [problem])
                continue
            reason: Reason = "accepted_by_review" if decision.decision == "accept" else "rejected_by_review"
            end = self._reviewed(row, reason, decision, problem)
            if decision.decision == "reject":
                ended.append(end)
            else:
                decided[row["utterance_id"]] = decision, end
        return ended, decided

    def _ledger_row(self, row: dict[str, Any], checks: RowChecks) -> LedgerRow | None:
        """The row's end for what it violates, if anything."""
        found = checks.violations(row, row["language"])
        if not found:
            return None
        first = found[0]
        # All are told; the first and most important one is the reason.
        detail = f"{_place(row)}: " + "; ".join(one.detail for one in found)
        named = (self._corpus, row["utterance_id"], row["source"], self._stage)
        return LedgerRow(*named, first.reason, detail, first.value, first.limit)

    def _reviewed(
        self, row: dict[str, Any], reason: Reason, decision: Decision, problem: LedgerRow | None
    ) -> LedgerRow:
        named = (self._corpus, row["utterance_id"], row["source"], self._stage)
        if problem is None:
            seconds = () if row["promised_s"] is None else (row["duration_s"], row["promised_s"])
            return LedgerRow(*named, reason, f"{_place(row)}: {decision.told}", *seconds)
        detail = f"{decision.told}: {problem.detail}"
        return LedgerRow(*named, reason, detail, problem.value, problem.limit)

    def _noted(self, kept: pl.DataFrame, decided: dict[str, tuple[Decision, LedgerRow]]) -> list[LedgerRow]:
        """Ends of accepted rows with something to be told: that a person decided so, or a note."""
        columns = {*_NAMED, "duration_s", *(note.column for note in NOTES)}
        told = kept.filter(self._outside(tuple(kept.columns), NOTES)).select(sorted(columns))
        noted = [self._ledger_row(row, self._notes) for row in told.iter_rows(named=True)]
        here = kept.filter(pl.col("utterance_id").is_in(pl.Series(list(decided), dtype=pl.String).implode()))
        reviewed = [decided[name][1] for name in here["utterance_id"]]
        return [one for one in noted if one is not None and one.utterance_id not in decided] + reviewed

    def _ends(self, rows: pl.DataFrame, ended: list[LedgerRow], noted: list[LedgerRow]) -> pl.DataFrame:
        """How each row ends, with the ledger's columns, in their order."""
        lost = rows.filter("is_good", ~pl.col("is_kept"))
        told = ledger_frame([*ended, *noted, *self._companions_lost(lost)])
        columns = told.columns
        plain = rows.select(
            pl.lit(self._corpus).alias("corpus"),
            "utterance_id",
            "source",
            stage=pl.lit(self._stage),
            outcome=pl.lit("accepted"),
            reason=pl.lit("accepted"),
            value=pl.lit(None, dtype=pl.Float64),
            limit=pl.lit(None, dtype=pl.Float64),
            detail=pl.lit("within all thresholds"),
        )
        if told.is_empty():
            return plain
        changed = ("outcome", "reason", "value", "limit", "detail")
        joined = plain.join(
            told.select("utterance_id", *changed, is_told=True),
            on="utterance_id",
            how="left",
            maintain_order="left",
            validate="1:1",
            suffix="_told",
        )
        is_told = pl.col("is_told").is_not_null()
        return joined.with_columns(
            pl.when(is_told).then(f"{name}_told").otherwise(name).alias(name) for name in changed
        ).select(columns)

    def _companions_lost(self, lost: pl.DataFrame) -> Iterator[LedgerRow]:
        columns = ("utterance_id", "source", "left", "wanted", "conversation_id")
        for utterance_id, source, left, wanted, conversation in lost.select(columns).iter_rows():
            detail = (
                f"{source}: only {left} of the {wanted} audios of conversation {conversation!r} were accepted"
            )
            named = (self._corpus, utterance_id, source, self._stage)
            yield LedgerRow(*named, "companion_lost", detail, float(left), float(wanted))


def said(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with what is said in each as its ``text``: of a row without audio, what its messages say."""
    messages = pl.when(pl.col("audio_uri").is_null() & pl.col("messages").is_not_null()).then(
        pl.col("messages")
    )
    contents = messages.map_elements(_contents, return_dtype=pl.String)
    return rows.with_columns(text=contents.fill_null(pl.col("text")))


def _contents(messages: str) -> str:
    return "\n".join(message["content"] for message in json.loads(messages))


def _place(row: dict[str, Any]) -> str:
    if row["audio_uri"] is None:
        return str(row["source"])
    fault = "" if row["fault"] is None else f" ({row['fault']})"
    return f"{row['source']}: {row['audio_uri']}{fault}"


def _with_companions(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with ``wanted`` and ``left``, the audios of their conversation, and ``is_kept``."""
    if rows["conversation_id"].null_count() == rows.height:
        alone = pl.lit(None, pl.UInt32)
        return rows.with_columns(wanted=alone, left=alone, is_kept="is_good")
    is_audio = pl.col("marker").is_not_null()
    counted = rows.with_columns(
        # In JSON the marker stands as it is.
        wanted=pl.col("messages").str.count_matches(AUDIO_MARKER, literal=True),
        left=(pl.col("is_good") & is_audio).sum().over("conversation_id"),
    )
    is_whole = is_audio.not_() | (pl.col("left") == pl.col("wanted"))
    return counted.with_columns(is_kept=pl.col("is_good") & is_whole)
