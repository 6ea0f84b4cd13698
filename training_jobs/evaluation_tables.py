"""From answers to tables: of rows, of slices (task x corpus x language x speaker group), and markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from training_jobs.evaluation_figures import ONE, Figure, interval_of
from training_jobs.evaluation_rows import EvaluationRow
from training_jobs.evaluation_worker import Answer
from training_jobs.listened import Listened, RowKey
from training_jobs.normalisation import normaliser_of
from training_jobs.scoring import ReplyScore, SliceScore, aggregate, has_words, holds_answer, score_reply

SLICE = ("task", "corpus", "language", "speaker_group")

_ROW_SCHEMA: dict[str, Any] = {
    "task": pl.String,
    "corpus": pl.String,
    "language": pl.String,
    "speaker_group": pl.String,
    "speaker": pl.String,
    "row_id": pl.String,
    "mode": pl.String,
    "reference": pl.String,
    "hypothesis": pl.String,
    "word_errors": pl.Int64,
    "words": pl.Int64,
    "char_errors": pl.Int64,
    "chars": pl.Int64,
    "exact": pl.Boolean,
    "replied": pl.Boolean,
    "new_tokens": pl.Int64,
    "audio_tokens": pl.Int64,
    "ended": pl.Boolean,
    "seconds": pl.Float64,
    "unit": pl.String,
    "audio_s": pl.Float64,
    "snr_db": pl.Float64,
    "read_back": pl.String,
    "heard": pl.String,
    "heard_errors": pl.Int64,
    "contains": pl.Boolean,
    "spoken_contains": pl.Boolean,
    "heard_contains": pl.Boolean,
    "mos": pl.Float64,
    "spoken": pl.List(pl.Int32),
}
_SCORE_SCHEMA: dict[str, Any] = {
    **dict.fromkeys((*SLICE, "mode"), pl.String),
    "rows": pl.Int64,
    "word_errors": pl.Int64,
    "words": pl.Int64,
    "wer": pl.Float64,
    "cer": pl.Float64,
    "exact_match": pl.Float64,
    "no_reply": pl.Int64,
    **dict.fromkeys(("wer_low", "wer_high", "exact_low", "exact_high"), pl.Float64),
}
_INTERVALS = {
    "wer": Figure("wer", "word_errors", "words"),
    "exact": Figure("exact", "exact", ONE),
}
_FEW = 30  # rows: with fewer of them, an interval by resampling is too narrow


def row_table(
    rows: Sequence[EvaluationRow],
    answers: Sequence[Answer],
    listened: Mapping[RowKey, Listened] | None = None,
) -> pl.DataFrame:
    """One row per held-out row and mode, scored; sorted.

    Args:
        listened: what other models heard in the spoken replies, where any listened.
    """
    by_key = {(row.corpus, row.row_id, row.task): row for row in rows}
    records = []
    for answer in answers:
        row = by_key[answer.corpus, answer.row_id, answer.task]
        said = answer.hypothesis or ""
        records.append(
            {
                **{name: getattr(row, name) for name in (*SLICE, "speaker", "row_id", "reference", "snr_db")},
                **{
                    name: getattr(answer, name)
                    for name in ("mode", "hypothesis", "ended", "seconds", "read_back")
                },
                **vars(score_reply(row.reference, said, row.language, row.answers)),
                "replied": has_words(row.reference, said, row.language),
                "new_tokens": answer.new_tokens,
                "audio_tokens": answer.audio_tokens,
                # What the report of a version plays.
                "spoken": list(answer.spoken),
                "unit": normaliser_of(row.language).unit,
                "audio_s": row.seconds,
                **_answered(row, answer),
                **_listened(row, answer, listened or {}),
            }
        )
    return pl.DataFrame(records, schema=_ROW_SCHEMA).sort(*SLICE, "row_id", "mode")


def _answered(row: EvaluationRow, answer: Answer) -> dict[str, bool | None]:
    """Whether an answer to a question holds what it should, in its text and in its speech."""
    if row.task != "sqa":
        return {"contains": None, "spoken_contains": None}
    right = (row.reference, *row.answers)
    spoke = row.wants_speech or bool(answer.audio_tokens)
    return {
        "contains": holds_answer(right, answer.hypothesis or "", row.language),
        "spoken_contains": holds_answer(right, answer.read_back or "", row.language) if spoke else None,
    }


def _listened(
    row: EvaluationRow, answer: Answer, listened: Mapping[RowKey, Listened]
) -> dict[str, str | int | float | bool | None]:
    one = listened.get((answer.corpus, answer.row_id, answer.task, answer.mode))
    if one is None or not (row.wants_speech or answer.audio_tokens):
        return {}
    figures: dict[str, str | int | float | bool | None] = {"mos": one.mos}
    if one.heard is not None:
        figures["heard"] = one.heard
        if row.task == "tts":
            figures["heard_errors"] = score_reply(row.reference, one.heard, row.language).word_errors
        else:
            right = (row.reference, *row.answers)
            figures["heard_contains"] = holds_answer(right, one.heard, row.language)
    return figures


def score_table(table: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """One row per slice and mode, with intervals; slices without rows are not there."""
    records = []
    for key, part in table.group_by(*SLICE, "mode", maintain_order=True):
        score = _score(part)
        assert score is not None
        records.append(
            {**dict(zip((*SLICE, "mode"), key, strict=True)), **vars(score), **interval_columns(part, seed)}
        )
    return pl.DataFrame(records, schema=_SCORE_SCHEMA)


def interval_columns(part: pl.DataFrame, seed: int) -> dict[str, float | None]:
    """Ends of the intervals of word error rate and exact match."""
    columns: dict[str, float | None] = {}
    for name, figure in _INTERVALS.items():
        interval = interval_of(part, figure, seed)
        columns[f"{name}_low"] = None if interval is None else interval.low
        columns[f"{name}_high"] = None if interval is None else interval.high
    return columns


def scores_markdown(scores: pl.DataFrame, modes: Sequence[str]) -> str:
    """A line per slice, the modes side by side; error rates and exact match with their 95 % intervals."""
    figures = {"wer": "wer", "cer": None, "exact_match": "exact"}
    names = {"wer": "WER", "cer": "CER", "exact_match": "exact"}
    head = ["task", "corpus", "language", "voices", "rows"]
    head += [f"{names[figure]} {mode}" for figure in figures for mode in modes] + ["no reply"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * 4 + "---:|" * (len(head) - 4)]
    for key, part in scores.group_by(*SLICE, maintain_order=True):
        by_mode = {record["mode"]: record for record in part.to_dicts()}
        cells = [*map(str, key), str(part["rows"][0])]
        cells += [
            with_interval(by_mode[mode], figure, ends) for figure, ends in figures.items() for mode in modes
        ]
        cells.append(" / ".join(str(by_mode[mode]["no_reply"]) for mode in modes))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def with_interval(record: Mapping[str, Any], figure: str, ends: str | None) -> str:
    """A figure in percent, and in brackets the ends of its interval."""
    value = record[figure]
    if value is None:
        return "–"
    if ends is None or record[f"{ends}_low"] is None:
        return f"{value:.1%}"
    return f"{value:.1%} [{100 * record[f'{ends}_low']:.1f}, {100 * record[f'{ends}_high']:.1f}]"


def _score(part: pl.DataFrame) -> SliceScore | None:
    fields = ("word_errors", "words", "char_errors", "chars", "exact")
    scores = [ReplyScore(*values) for values in part.select(fields).iter_rows()]
    return aggregate(scores, no_reply=int((~part["replied"]).sum()))
