"""Measures how fast a checkpoint decodes, in all four modes: ``python -m training_jobs.benchmark``.

A prompt is a spoken question of exactly as many tokens as one of ``prompt_tokens`` says,
``<|im_start|>user\\n<|begin_of_audio|>…<|end_of_audio|><|im_end|>\\n<|im_start|>assistant\\n``, whose audio tokens are
those of a held-out row, cut to fit (where no row is long enough, of several in a row). ``new_tokens`` tokens are
decoded from it, past the end of the reply, so that every mode does the same amount of work. Each repeat has a prompt
of its own where there are enough rows, and runs all modes one after the other before the next repeat begins, so that
a busy moment of the machine hits all modes alike. The weights are the checkpoint's, as trained.

Beside the decoding are timed: the audio tokenizer on the prompt's own sound, and the first chunk's way to a waveform.
What cannot be measured is left out, and the reason given; no figure stands for a failure.

Leaves ``latency.json`` (the results, every time that was taken) and ``result.json`` with

- ``by_prompt``: length of prompt to everything measured (:meth:`training_jobs.latency_figures.PromptFigures.record`),
  ``skipped``: lengths that do not fit into the model's positions, and why;
- ``modes``, ``prompt_tokens``, ``repeats``, ``first_chunk_basis``: the same of the first length alone, per mode the
  figures of :class:`training_jobs.latency_figures.ModeFigures`;
- ``hardware``, ``hardware_digest``, ``decoding`` (how the modes were decoded), ``fingerprint`` of both: latencies are
  comparable where it is equal; ``load_average`` (before), ``load_average_after``, ``others_cpu_share`` (where the
  system tells it), ``new_tokens``, ``warmup``, ``run_id`` of MLflow;
- ``latency_markdown`` (the first length, briefly), ``latency_by_prompt_markdown``, ``latency_plots_markdown``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from training_jobs.benchmark_settings import BenchmarkSettings
from training_jobs.hardware import Hardware, describe_hardware
from training_jobs.jobs import BenchmarkJob, write_result
from training_jobs.latency_bench import LatencyBench
from training_jobs.latency_figures import NotMeasured, PromptFigures, Times
from training_jobs.latency_plots import first_sound_figure, rate_figure
from training_jobs.latency_report import all_latencies_markdown, latency_markdown
from training_jobs.machine_load import MachineLoad, watched_load
from training_jobs.plots import figure_png, image_markdown
from training_jobs.program import program_main
from training_jobs.reporting import Reporter
from training_jobs.spec import MODES
from training_jobs.tracking import TrackedRun, tracked_run
from validation.atomic import replacing, write_text
from validation.errors import ConfigurationError

LATENCY_FILE = "latency.json"


def benchmark(job: BenchmarkJob, report: Reporter) -> dict[str, Any]:
    """Measure; see the module's docstring for how, and what is written.

    Raises:
        ConfigurationError: if a prompt, or ``new_tokens``, is too short for audio or too long for the model.
        training_jobs.evaluation_rows.EvaluationError: if no held-out row has audio.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        # One thread: at batch 1 the others only wait for each other, and for whatever else the machine does.
        torch.set_num_threads(1)
    hardware = describe_hardware(device)
    params = {**job.settings.model_dump(), **job.decoding.model_dump(), **asdict(hardware)}
    with (
        tracked_run(job.tracking, "voxline/latency", "latency", params) as run,
        threadpool_limits(limits=1) if device == "cpu" else nullcontext(),
    ):
        bench = LatencyBench(job, device)
        lengths, skipped = _lengths(job.settings, bench.positions)
        for length, why in skipped.items():
            report.log(f"prompts of {length:,} tokens are left out: {why}")
        figures, times = [], {}
        with watched_load() as load:
            for length, repeats in lengths.items():
                report.log(
                    f"timing {len(MODES)} modes x {repeats} repeats of {job.settings.new_tokens} tokens after prompts "
                    f"of {length:,} on {hardware.gpu or hardware.cpu}"
                )
                measured, times[length] = bench.measure(length, repeats)
                figures.append(measured)
        result = _result(job, figures, skipped, hardware, load)
        _write(job.output_dir / LATENCY_FILE, result, times)
        result |= {
            "latency_markdown": latency_markdown(figures[0], hardware, job.decoding, load),
            "latency_by_prompt_markdown": all_latencies_markdown(
                figures, skipped, hardware, job.decoding, load
            ),
            "run_id": run.run_id,
        }
        plots = _plot(figures, job.output_dir)
        result["latency_plots_markdown"] = "\n\n".join(
            image_markdown(path.read_bytes(), path.stem) for path in plots
        )
        _track(run, figures, result, [job.output_dir / LATENCY_FILE, *plots])
    report.log(f"\n{result['latency_markdown']}\n\n{load.sentence()}")
    write_result(job.output_dir, result)
    return result


def _lengths(settings: BenchmarkSettings, positions: int) -> tuple[dict[int, int], dict[int, str]]:
    """Length of prompt to repeats, for those that fit; and for the others why they do not."""
    both = dict(zip(settings.prompt_tokens, settings.repeats, strict=True))
    skipped = {
        length: f"{length:,} tokens and {settings.new_tokens:,} new ones exceed the model's {positions:,} positions"
        for length in both
        if length + settings.new_tokens > positions
    }
    if len(skipped) == len(both):
        raise ConfigurationError(f"benchmark.prompt_tokens: {'; '.join(skipped.values())}")
    return {length: repeats for length, repeats in both.items() if length not in skipped}, skipped


def _result(
    job: BenchmarkJob,
    figures: Sequence[PromptFigures],
    skipped: Mapping[int, str],
    hardware: Hardware,
    load: MachineLoad,
) -> dict[str, Any]:
    settings, first = job.settings, figures[0].record()
    return {
        **{name: first[name] for name in ("modes", "prompt_tokens", "repeats", "first_chunk_basis")},
        "by_prompt": {str(each.prompt_tokens): each.record() for each in figures},
        "skipped": {str(length): why for length, why in skipped.items()},
        "new_tokens": settings.new_tokens,
        "warmup": settings.warmup,
        "hardware": asdict(hardware),
        "hardware_digest": hardware.digest,
        "decoding": job.decoding.model_dump(),
        "fingerprint": job.decoding.fingerprint(hardware.digest),
        "load_average": load.before,
        "load_average_after": load.after,
        **({} if load.others_share is None else {"others_cpu_share": load.others_share}),
    }


def _write(path: Path, result: Mapping[str, Any], times: Mapping[int, Times]) -> None:
    taken = {
        str(length): {
            "arrivals_ms": {
                mode: [_milliseconds(run.arrivals_s) for run in runs]
                for mode, runs in of_length.timings.items()
            },
            "audio_encoder_ms": _milliseconds(of_length.encoder_s),
            "chunk_decoder_ms": _milliseconds(of_length.decoder_s),
        }
        for length, of_length in times.items()
    }
    write_text(path, json.dumps({**result, "times": taken}, ensure_ascii=False))


def _milliseconds(seconds: Sequence[float] | NotMeasured) -> list[float] | None:
    return None if isinstance(seconds, NotMeasured) else [round(1e3 * value, 4) for value in seconds]


def _plot(figures: Sequence[PromptFigures], output_dir: Path) -> list[Path]:
    plots = {"first_sound.png": first_sound_figure(figures), "tokens_per_second.png": rate_figure(figures)}
    for name, figure in plots.items():
        with replacing(output_dir / name) as path:
            path.write_bytes(figure_png(figure))
    return [output_dir / name for name in plots]


def _track(
    run: TrackedRun, figures: Sequence[PromptFigures], result: Mapping[str, Any], files: Sequence[Path]
) -> None:
    rows: list[dict[str, Any]] = []
    for at, of_length in enumerate(figures):
        for mode in of_length.modes:
            values = mode.flat()
            rows.append({"mode": mode.mode, "prompt_tokens": of_length.prompt_tokens, **values})
            # Those of the first length have the names that a version's metrics have.
            prefix = f"prompt_{of_length.prompt_tokens}/{mode.mode}" if at else mode.mode
            run.metrics({f"{prefix}/{name}": value for name, value in values.items()})
    run.tag("first_chunk_basis", result["first_chunk_basis"])
    run.tag("hardware_digest", result["hardware_digest"])
    run.tag("latency_fingerprint", result["fingerprint"])
    columns = list(dict.fromkeys(name for row in rows for name in row))
    run.table({name: [row.get(name) for row in rows] for name in columns}, "latency_table.json")
    run.text(result["latency_by_prompt_markdown"], "latency.md")
    for path in files:
        run.artifact(path)


def _run(job: BenchmarkJob, report: Reporter) -> None:
    benchmark(job, report)


if __name__ == "__main__":
    program_main(BenchmarkJob, _run)
