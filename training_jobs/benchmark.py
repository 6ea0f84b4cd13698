"""Measures how fast a checkpoint decodes, in all four modes: ``python -m training_jobs.benchmark``.

A prompt is a spoken question of exactly ``prompt_tokens`` tokens,
``<|im_start|>user\\n<|begin_of_audio|>…<|end_of_audio|><|im_end|>\\n<|im_start|>assistant\\n``, whose audio tokens are
those of a held-out row, cut to fit (where no row is long enough, of several in a row). ``new_tokens`` tokens are
decoded from it, past the end of the reply, so that every mode does the same amount of work. Each repeat has a prompt
of its own where there are enough rows, and runs all modes one after the other before the next repeat begins, so that
a busy moment of the machine hits all modes alike. The weights are the checkpoint's, as trained.

Leaves ``latency.json`` (the table, every time that was taken, the hardware) and ``result.json`` with ``modes`` (figures
per mode, see :class:`training_jobs.latency.ModeFigures`), ``first_chunk_basis``, ``hardware``, ``hardware_digest``,
``load_average``, ``run_id`` of MLflow and ``latency_markdown``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from models import load_audio_tokenizer
from training_jobs.dialogue import SpeechModel
from training_jobs.evaluation_rows import EvaluationRow, held_out_rows
from training_jobs.hardware import describe_hardware, load_average
from training_jobs.jobs import BenchmarkJob, write_result
from training_jobs.latency import (
    ModeFigures,
    Timing,
    first_chunk_positions,
    latency_markdown,
    summarise,
)
from training_jobs.program import program_main
from training_jobs.reporting import Reporter
from training_jobs.rows import AUDIO_MARKER, encode_prompt
from training_jobs.run_check import tokens_to_first_chunk
from training_jobs.spec import MODES
from training_jobs.timing import time_models
from training_jobs.tracking import TrackedRun, tracked_run
from validation.atomic import write_text
from validation.errors import ConfigurationError
from validation.lake import Lake

LATENCY_FILE = "latency.json"
_SEED = 0  # of the choice of rows for prompts
_MODEL = "checkpoint"


def benchmark(job: BenchmarkJob, report: Reporter) -> dict[str, Any]:
    """Measure; see the module's docstring for how, and what is written.

    Raises:
        ConfigurationError: if ``prompt_tokens`` or ``new_tokens`` is too small for a prompt or a first chunk.
        training_jobs.evaluation_rows.EvaluationError: if no held-out row has audio.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        # One thread: at batch 1 the others only wait for each other, and for whatever else the machine does.
        torch.set_num_threads(1)
    hardware, load = describe_hardware(device), load_average()
    params = {**job.settings.model_dump(), **asdict(hardware)}
    with tracked_run(job.tracking, "voxline/latency", "latency", params) as run:
        model = SpeechModel.load(job.model_dir, device, job.ratio)
        audio_tokenizer = load_audio_tokenizer(job.tokenizer_dir)
        rows = held_out_rows(
            Lake(job.lake),
            job.corpora,
            audio_tokenizer.digest,
            max_rows_per_slice=job.settings.repeats,
            seed=_SEED,
        )
        prompts = make_prompts(model, rows.rows, job.settings.prompt_tokens, job.settings.repeats)
        by_ratio = tokens_to_first_chunk(job.ratio) - 1
        if by_ratio >= job.settings.new_tokens:
            raise ConfigurationError(
                f"benchmark.new_tokens is {job.settings.new_tokens}, but with ratio {list(job.ratio)} the first audio "
                f"chunk is complete after {by_ratio + 1} tokens"
            )
        report.log(
            f"timing {len(MODES)} modes x {job.settings.repeats} repeats of {job.settings.new_tokens} tokens on "
            f"{hardware.gpu or hardware.cpu}, load average {load:.2f}"
        )
        timings = time_models(
            {_MODEL: model},
            {_MODEL: prompts},
            MODES,
            job.settings.new_tokens,
            job.settings.warmup,
            job.settings.repeats,
            device,
        )[_MODEL]
        basis, positions = first_chunk_positions(timings, model.is_audio, by_ratio)
        # The last pair repeats; its audio count includes the two markers.
        text_count, audio_count = job.ratio[-2:]
        figures = summarise(
            timings,
            positions,
            tokens_per_audio_token=(text_count + audio_count) / (audio_count - 2),
            audio_tokens_per_second=audio_tokenizer.frame_rate,
        )
        result: dict[str, Any] = {
            "modes": {mode.mode: asdict(mode) for mode in figures},
            "first_chunk_basis": basis,
            "hardware": asdict(hardware),
            "hardware_digest": hardware.digest,
            "load_average": load,
            "prompt_tokens": job.settings.prompt_tokens,
            "new_tokens": job.settings.new_tokens,
            "repeats": job.settings.repeats,
        }
        _write_times(job.output_dir / LATENCY_FILE, result, timings)
        result |= {"latency_markdown": latency_markdown(figures), "run_id": run.run_id}
        _track(run, figures, result, job.output_dir)
    report.log("\n" + result["latency_markdown"])
    write_result(job.output_dir, result)
    return result


def make_prompts(
    model: SpeechModel, rows: Sequence[EvaluationRow], length: int, count: int
) -> list[list[int]]:
    """``count`` spoken questions, or as many as there are rows, of exactly ``length`` tokens each.

    Questions of conversations come first, then other rows with audio.

    Raises:
        ConfigurationError: if the framing alone is as long as that.
    """
    turn = [{"role": "user", "content": AUDIO_MARKER}]
    frame = len(encode_prompt(turn, [[]], model.tokenizer))
    needed = length - frame
    if needed < 1:
        raise ConfigurationError(
            f"benchmark.prompt_tokens is {length}, but a prompt with one audio token takes {frame + 1}"
        )
    ranked = sorted(rows, key=lambda row: row.task != "sqa")
    audios = [audio for row in ranked for audio in row.audio_tokens]
    long_enough = [audio for audio in audios if len(audio) >= needed]
    if not long_enough:
        joined = [token for audio in audios for token in audio]
        long_enough = [(joined * -(-needed // len(joined)))] if joined else []
    if not long_enough:
        raise ConfigurationError(
            "the latency benchmark needs a held-out row with audio in its prompt; there is none"
        )
    return [encode_prompt(turn, [audio[:needed]], model.tokenizer) for audio in long_enough[:count]]


def _write_times(path: Path, result: dict[str, Any], timings: dict[str, list[Timing]]) -> None:
    times = {
        mode: [[round(1e3 * seconds, 4) for seconds in run.arrivals_s] for run in runs]
        for mode, runs in timings.items()
    }
    write_text(path, json.dumps({**result, "arrivals_ms": times}, ensure_ascii=False))


def _track(run: TrackedRun, figures: Sequence[ModeFigures], result: dict[str, Any], output_dir: Path) -> None:
    for mode in figures:
        run.metrics({f"{mode.mode}/{name}": value for name, value in asdict(mode).items() if name != "mode"})
    run.tag("first_chunk_basis", result["first_chunk_basis"])
    run.tag("hardware_digest", result["hardware_digest"])
    records = [asdict(mode) for mode in figures]
    run.table({name: [record[name] for record in records] for name in records[0]}, "latency_table.json")
    run.text(result["latency_markdown"], "latency.md")
    run.artifact(output_dir / LATENCY_FILE)


def _run(job: BenchmarkJob, report: Reporter) -> None:
    benchmark(job, report)


if __name__ == "__main__":
    program_main(BenchmarkJob, _run)
