"""What a checkpoint answers to held-out rows: decoded by one process per core, or one on the GPU."""

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
from typing import TYPE_CHECKING

import psutil
from tqdm import tqdm

from training_jobs.evaluation_rows import EvaluationError, EvaluationRow
from training_jobs.evaluation_worker import Answer, answer, start
from training_jobs.launch import gpu_count
from training_jobs.reporting import Reporter

if TYPE_CHECKING:
    from training_jobs.decoding_settings import DecodingSettings
    from training_jobs.spec import Mode

_HEAVY = "training_jobs.dialogue"  # what the workers import: torch and transformers
_PROGRESS_SECONDS = 10.0
_NAMED = 20  # rows that are named in the log when they are not asked
# Memory of one worker, in sizes of the weights on disk: bf16 read as float32 is two, the engine's two layouts of it are
# four while the model is still there, and caches.
_MODEL_COPIES = 7


def answers_of(
    model_dir: Path,
    ratio: Sequence[int],
    rows: Sequence[EvaluationRow],
    modes: Sequence[Mode],
    max_new_tokens: int,
    decoding: DecodingSettings,
    report: Reporter,
) -> tuple[list[Answer], int]:
    """One answer per row and mode, in no order, and the number of rows that are too long to be asked.

    Args:
        ratio: interleaving that the checkpoint was trained with.

    Raises:
        EvaluationError: if no row could be asked, or a decoding process died.
    """
    workers = 1 if gpu_count() else _cpu_workers(model_dir)
    answers: list[Answer] = []
    too_long: dict[tuple[str, str, str], str] = {}
    total = len(rows) * len(modes)
    with (
        _pool(model_dir, ratio, decoding, workers) as pool,
        # A log file has the report's lines; the bar is for whoever watches a terminal.
        tqdm(total=total, unit="row", disable=not sys.stderr.isatty()) as bar,
    ):
        waiting = [pool.submit(answer, row, mode, max_new_tokens) for row in rows for mode in modes]
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
    # In all modes or in none: a row's figures stand side by side.
    kept = [one for one in answers if (one.corpus, one.row_id, one.task) not in too_long]
    if not kept:
        raise EvaluationError(
            f"none of {len(rows)} held-out rows could be asked: {next(iter(too_long.values()))}"
        )
    return kept, len(too_long)


@contextmanager
def _pool(
    model_dir: Path, ratio: Sequence[int], decoding: DecodingSettings, workers: int
) -> Iterator[ProcessPoolExecutor]:
    """Worker processes that have loaded the model; when the block fails, what is waiting is dropped.

    Raises:
        EvaluationError: if one of the processes died.
    """
    # A server that has torch imported and forks: one import instead of one per worker, and no threads to inherit.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_HEAVY])
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=start, initargs=(model_dir, tuple(ratio), decoding)
    )
    try:
        yield pool
    except BrokenProcessPool as error:
        raise EvaluationError(
            f"one of {workers} decoding processes died: either the model in {model_dir} cannot be loaded, of "
            "which the lines above speak, or the memory ran out"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _cpu_workers(model_dir: Path) -> int:
    """As many processes as there are cores for this one, and as fit into memory."""
    weights = sum(path.stat().st_size for path in model_dir.glob("*.safetensors"))
    fitting = psutil.virtual_memory().available // max(1, _MODEL_COPIES * weights)
    return max(1, min(len(os.sched_getaffinity(0)), int(fitting)))
