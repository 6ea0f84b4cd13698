"""Loads candidate and champion into this process and times them in turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from threadpoolctl import threadpool_limits

from models.errors import CheckpointError
from models.quiet import quiet_transformers
from training_jobs.benchmark_prompts import make_prompts
from training_jobs.champion import Champion
from training_jobs.comparison import Comparison
from training_jobs.dialogue import SpeechModel
from training_jobs.duel_timing import CANDIDATE, CHAMPION, speed_comparisons
from training_jobs.evaluation_rows import EvaluationRow
from training_jobs.gate import GateThresholds
from training_jobs.hardware import describe_hardware
from training_jobs.jobs import RegisterJob
from training_jobs.latency import Timing
from training_jobs.machine_load import watched_load
from training_jobs.run_check import tokens_to_first_chunk
from training_jobs.timing import time_models
from training_jobs.version_weights import LostVersionError

_PROMPTS = 20  # different ones, where there are as many rows

if TYPE_CHECKING:
    from training_jobs.spec import Mode


def race(
    job: RegisterJob,
    champion: Champion,
    rows: tuple[Sequence[EvaluationRow], Sequence[EvaluationRow]],
    mode: Mode,
    thresholds: GateThresholds,
) -> tuple[list[Comparison], list[str]]:
    """The comparisons of both models' speed, and in words what they were taken on.

    Args:
        rows: held-out rows for the prompts, as the candidate's audio tokenizer hears them and as the champion's does.

    Raises:
        LostVersionError: if today's code cannot load the champion's weights.
        validation.errors.ConfigurationError: if the benchmark's prompt is too short.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)  # as in the benchmark
    models = _loaded(job, champion, device)
    settings = job.benchmark
    length = settings.prompt_tokens[0]
    prompts = {
        name: make_prompts(models[name], heard, length, _PROMPTS)
        for name, heard in zip((CANDIDATE, CHAMPION), rows, strict=True)
    }
    warmups = [settings.warmup]

    def take_turns(count: int) -> Mapping[str, Sequence[Timing]]:
        # Only what is cold is to be warmed up.
        warmup = warmups.pop() if warmups else 0
        found = time_models(models, prompts, [mode], settings.new_tokens, warmup, count, device)
        return {name: modes[mode] for name, modes in found.items()}

    with (
        watched_load() as load,
        threadpool_limits(limits=1) if device == "cpu" else nullcontext(),
    ):
        compared = speed_comparisons(
            take_turns,
            {name: model.is_audio for name, model in models.items()},
            tokens_to_first_chunk(job.ratio) - 1,
            mode,
            thresholds,
            job.seed,
        )
    hardware = describe_hardware(device)
    return compared, [
        f"both were timed in turns, {settings.new_tokens} tokens after a prompt of {length}, on "
        f"{hardware.gpu or hardware.cpu} ({hardware.threads} threads, {hardware.dtype}); {load.sentence()}"
    ]


def _loaded(job: RegisterJob, champion: Champion, device: str) -> dict[str, SpeechModel]:
    with quiet_transformers():
        candidate = SpeechModel.load(job.model_dir, device, job.ratio, job.decoding)
        try:
            other = SpeechModel.load(champion.checkpoint, device, champion.ratio, champion.decoding)
        except CheckpointError as error:
            raise LostVersionError(f"version {champion.version} cannot be loaded: {error}") from error
    return {CANDIDATE: candidate, CHAMPION: other}
