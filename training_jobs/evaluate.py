"""Scores a checkpoint on the held-out rows, in Vanilla and in Boost decoding: ``python -m training_jobs.evaluate``.

Leaves in the job's output directory ``rows.parquet`` (each row and mode: reference, hypothesis, errors),
``scores.parquet`` (each slice = task x corpus x language x speaker group, and mode) and ``result.json`` with

- ``overall``: per mode ``asr_known_wer``, ``asr_known_cer``, ``asr_known_exact``, the same for ``asr_unseen`` and
  ``asr_unstated``,
  ``sqa_exact``, ``tts_wer``, ``tts_exact``; a figure without rows is absent. Also flat, as ``<mode>_<figure>``;
- ``rows``, ``held_out_digest`` (which rows, with which references), ``left_out`` (held-out rows not scored, by
  reason), ``cut_replies`` (replies that ran into ``max_new_tokens``), ``seconds``, ``run_id`` of MLflow, and
  ``scores_markdown``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from training_jobs.evaluation_answers import answers_of
from training_jobs.evaluation_rows import HeldOut, held_out_rows
from training_jobs.evaluation_tables import overall, row_table, score_table, scores_markdown
from training_jobs.jobs import EvaluateJob, write_result
from training_jobs.program import program_main
from training_jobs.reporting import Reporter
from training_jobs.tracking import TrackedRun, tracked_run
from validation.atomic import replacing
from validation.lake import Lake

if TYPE_CHECKING:
    from training_jobs.spec import Mode

SCORED_MODES: tuple[Mode, ...] = ("vanilla", "boost")
ROWS_FILE = "rows.parquet"
SCORES_FILE = "scores.parquet"


def evaluate(job: EvaluateJob, report: Reporter) -> dict[str, Any]:
    """Score the checkpoint; see the module's docstring for what is written.

    Raises:
        training_jobs.evaluation_rows.EvaluationError: if nothing is held out, or audio tokens are missing.
    """
    from models import load_audio_tokenizer

    began = time.monotonic()
    settings = job.settings
    params = {**settings.model_dump(), "seed": job.seed, "modes": ",".join(SCORED_MODES)}
    with tracked_run(job.tracking, "voxline/evaluation", "evaluation", params) as run:
        held_out = held_out_rows(
            Lake(job.lake),
            job.corpora,
            load_audio_tokenizer(job.tokenizer_dir).digest,
            settings.max_rows_per_slice,
            job.seed,
        )
        slices = len({row.slice_key for row in held_out.rows})
        report.log(
            f"scoring {len(held_out.rows)} held-out rows in {slices} slices, in {' and '.join(SCORED_MODES)}"
        )
        answers, too_long = answers_of(
            job.model_dir, job.ratio, held_out.rows, SCORED_MODES, settings.max_new_tokens, report
        )
        left_out = held_out.left_out | ({"longer than the model's positions": too_long} if too_long else {})
        rows = row_table(held_out.rows, answers)
        scores = score_table(rows)
        _write_parquet(rows, job.output_dir / ROWS_FILE)
        _write_parquet(scores, job.output_dir / SCORES_FILE)
        result = _result(rows, scores, held_out, left_out, time.monotonic() - began)
        result["run_id"] = run.run_id
        _track(run, scores, result, job.output_dir)
    report.log("\n" + result["scores_markdown"])
    write_result(job.output_dir, result)
    return result


def _result(
    rows: pl.DataFrame, scores: pl.DataFrame, held_out: HeldOut, left_out: dict[str, int], seconds: float
) -> dict[str, Any]:
    figures = overall(rows)
    return {
        "overall": figures,
        **{f"{mode}_{name}": value for mode, values in figures.items() for name, value in values.items()},
        "rows": rows.select("corpus", "row_id", "task").n_unique(),
        "held_out_digest": held_out.digest,
        "left_out": left_out,
        "cut_replies": int((~rows["ended"]).sum()),
        "seconds": round(seconds, 1),
        "scores_markdown": scores_markdown(scores, SCORED_MODES),
    }


def _write_parquet(table: pl.DataFrame, path: Path) -> None:
    with replacing(path) as temporary:
        table.write_parquet(temporary)


def _track(run: TrackedRun, scores: pl.DataFrame, result: dict[str, Any], output_dir: Path) -> None:
    figures: dict[str, dict[str, float]] = result["overall"]
    run.metrics(
        {f"{mode}/{name}": value for mode, values in figures.items() for name, value in values.items()}
    )
    run.table(scores.to_dict(as_series=False), "scores.json")
    run.text(result["scores_markdown"], "scores.md")
    run.artifact(output_dir / ROWS_FILE)
    run.artifact(output_dir / SCORES_FILE)


def _run(job: EvaluateJob, report: Reporter) -> None:
    evaluate(job, report)


if __name__ == "__main__":
    program_main(EvaluateJob, _run)
