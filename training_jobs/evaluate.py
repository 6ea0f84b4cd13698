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

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import psutil
from tqdm import tqdm

from training_jobs.evaluation_rows import EvaluationError, EvaluationRow, HeldOut, held_out_rows
from training_jobs.evaluation_tables import overall, row_table, score_table, scores_markdown
from training_jobs.evaluation_worker import Answer, answer, start
from training_jobs.jobs import EvaluateJob, write_result
from training_jobs.launch import gpu_count
from training_jobs.program import program_main
from training_jobs.reporting import Reporter
from training_jobs.tracking import TrackedRun, tracked_run
from validation.atomic import replacing
from validation.digests import digest_value
from validation.lake import Lake

if TYPE_CHECKING:
    from training_jobs.spec import Mode

SCORED_MODES: tuple[Mode, ...] = ("vanilla", "boost")
ROWS_FILE = "rows.parquet"
SCORES_FILE = "scores.parquet"
_HEAVY = "training_jobs.dialogue"  # what the workers import: torch and transformers
_PROGRESS_SECONDS = 10.0
_NAMED = 20  # rows that are named in the log when they are not asked
_MODEL_COPIES = 3  # memory of one worker, in sizes of the weights on disk: bf16 read as float32, and caches


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
        answers, too_long = _decode(job, held_out.rows, report)
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
        "held_out_digest": digest_value(
            [[*row.slice_key, row.row_id, row.reference] for row in held_out.rows]
        ),
        "left_out": left_out,
        "cut_replies": int((~rows["ended"]).sum()),
        "seconds": round(seconds, 1),
        "scores_markdown": scores_markdown(scores, SCORED_MODES),
    }


def _decode(job: EvaluateJob, rows: Sequence[EvaluationRow], report: Reporter) -> tuple[list[Answer], int]:
    """The answers, and the number of rows that are too long to be asked."""
    workers = 1 if gpu_count() else _cpu_workers(job.model_dir)
    answers: list[Answer] = []
    too_long: dict[tuple[str, str, str], str] = {}
    total = len(rows) * len(SCORED_MODES)
    with (
        _pool(job, workers) as pool,
        # A log file has the report's lines; the bar is for whoever watches a terminal.
        tqdm(total=total, unit="row", disable=not sys.stderr.isatty()) as bar,
    ):
        limit = job.settings.max_new_tokens
        waiting = [pool.submit(answer, row, mode, limit) for row in rows for mode in SCORED_MODES]
        next_line = time.monotonic() + _PROGRESS_SECONDS
        for done in as_completed(waiting):
            got = done.result()
            if isinstance(got, Answer):
                answers.append(got)
            else:
                too_long[got.corpus, got.row_id, got.task] = got.why
            bar.update()
            if time.monotonic() >= next_line:
                report.log(f"{len(answers)} of {total} replies")
                next_line += _PROGRESS_SECONDS
    for (corpus, row_id, task), why in sorted(too_long.items())[:_NAMED]:
        report.log(f"not asked: {task} row {row_id!r} of corpus {corpus!r}: {why}")
    # In both modes or in none: a row's figures stand side by side.
    kept = [one for one in answers if (one.corpus, one.row_id, one.task) not in too_long]
    if not kept:
        raise EvaluationError(
            f"none of {len(rows)} held-out rows could be asked: {next(iter(too_long.values()))}"
        )
    return kept, len(too_long)


@contextmanager
def _pool(job: EvaluateJob, workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes that have loaded the model; when the block fails, what is waiting is dropped.

    Raises:
        EvaluationError: if one of the processes died.
    """
    # A server that has torch imported and forks: one import instead of one per worker, and no threads to inherit.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_HEAVY])
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=start, initargs=(job.model_dir, job.ratio)
    )
    try:
        yield pool
    except BrokenProcessPool as error:
        raise EvaluationError(
            f"one of {workers} decoding processes died: either the model in {job.model_dir} cannot be loaded, of "
            "which the lines above speak, or the memory ran out"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _cpu_workers(model_dir: Path) -> int:
    """As many processes as there are cores for this one, and as fit into memory."""
    weights = sum(path.stat().st_size for path in model_dir.glob("*.safetensors"))
    fitting = psutil.virtual_memory().available // max(1, _MODEL_COPIES * weights)
    return max(1, min(len(os.sched_getaffinity(0)), int(fitting)))


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
