"""From answers to figures: a table of rows, a table of slices, an overall view and markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import polars as pl

from training_jobs.evaluation_rows import EvaluationRow, SpeakerGroup
from training_jobs.evaluation_worker import Answer
from training_jobs.scoring import ReplyScore, SliceScore, aggregate, normalise, score_reply

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
}

# Figures of the overall view: name, which rows, and which figure of them.
_OVERALL: tuple[tuple[str, Mapping[str, str], Callable[[SliceScore], float | None]], ...] = (
    *(
        (f"asr_{group}_{figure}", {"task": "asr", "speaker_group": group}, take)
        for group in get_args(SpeakerGroup)
        for figure, take in (
            ("wer", lambda score: score.wer),
            ("cer", lambda score: score.cer),
            ("exact", lambda score: score.exact_match),
        )
    ),
    ("sqa_exact", {"task": "sqa"}, lambda score: score.exact_match),
    ("tts_wer", {"task": "tts"}, lambda score: score.wer),
    ("tts_exact", {"task": "tts"}, lambda score: score.exact_match),
)


def row_table(rows: Sequence[EvaluationRow], answers: Sequence[Answer]) -> pl.DataFrame:
    """One row per held-out row and mode, scored; sorted."""
    by_key = {(row.corpus, row.row_id, row.task): row for row in rows}
    records = []
    for answer in answers:
        row = by_key[answer.corpus, answer.row_id, answer.task]
        score = score_reply(row.reference, answer.hypothesis or "")
        records.append(
            {
                **{name: getattr(row, name) for name in (*SLICE, "speaker", "row_id", "reference")},
                **{name: getattr(answer, name) for name in ("mode", "hypothesis", "ended", "seconds")},
                **vars(score),
                "replied": bool(normalise(answer.hypothesis or "")),
                "new_tokens": answer.new_tokens,
                "audio_tokens": answer.audio_tokens,
            }
        )
    return pl.DataFrame(records, schema=_ROW_SCHEMA).sort(*SLICE, "row_id", "mode")


def score_table(table: pl.DataFrame) -> pl.DataFrame:
    """One row per slice and mode; slices without rows are not there."""
    records = []
    for key, part in table.group_by(*SLICE, "mode", maintain_order=True):
        score = _score(part)
        assert score is not None
        records.append({**dict(zip((*SLICE, "mode"), key, strict=True)), **vars(score)})
    return pl.DataFrame(records, schema=_SCORE_SCHEMA)


def overall(table: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Figures per mode over all corpora and languages; a figure without rows is absent."""
    figures: dict[str, dict[str, float]] = {}
    for mode in table["mode"].unique().sort():
        for name, wanted, take in _OVERALL:
            part = table.filter(mode=mode, **wanted)
            score = _score(part)
            value = take(score) if score is not None else None
            if value is not None:
                figures.setdefault(mode, {})[name] = round(value, 6)
    return figures


def scores_markdown(scores: pl.DataFrame, modes: Sequence[str]) -> str:
    """A line per slice, the modes side by side."""
    figures = ("wer", "cer", "exact_match")
    names = {"wer": "WER", "cer": "CER", "exact_match": "exact"}
    head = ["task", "corpus", "language", "voices", "rows"]
    head += [f"{names[figure]} {mode}" for figure in figures for mode in modes] + ["no reply"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * 4 + "---:|" * (len(head) - 4)]
    for key, part in scores.group_by(*SLICE, maintain_order=True):
        by_mode = {record["mode"]: record for record in part.to_dicts()}
        cells = [*map(str, key), str(part["rows"][0])]
        cells += [_percent(by_mode[mode][figure]) for figure in figures for mode in modes]
        cells.append(" / ".join(str(by_mode[mode]["no_reply"]) for mode in modes))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _score(part: pl.DataFrame) -> SliceScore | None:
    fields = ("word_errors", "words", "char_errors", "chars", "exact")
    scores = [ReplyScore(*values) for values in part.select(fields).iter_rows()]
    return aggregate(scores, no_reply=int((~part["replied"]).sum()))
