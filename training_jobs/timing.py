"""Timing several models side by side: each repeat lets every model and mode have its turn."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import torch
from tqdm import tqdm

from models import SCHEDULES
from training_jobs.dialogue import SpeechModel
from training_jobs.latency import Timing, time_stream
from training_jobs.spec import Mode

# From prompt, schedule and count of new tokens to those tokens, as they are decided.
Decode: TypeAlias = Callable[[Sequence[int], Sequence[int], int], Iterator[int]]


def time_models(
    models: Mapping[str, SpeechModel],
    prompts: Mapping[str, Sequence[Sequence[int]]],
    modes: Sequence[Mode],
    new_tokens: int,
    warmup: int,
    repeats: int,
    device: str,
) -> dict[str, dict[str, list[Timing]]]:
    """Time ``repeats`` generations of every model in every mode, decoded past the end of the reply.

    All turns of a repeat come before the next repeat begins, so that a busy moment of the machine hits all alike;
    their order is turned round from one repeat to the next, so that nobody always goes first.

    Args:
        models: by name; on ``device`` already.
        prompts: for each name the prompts' ids; repeats take them in turn, beginning again after the last.
        modes: to decode in.
        new_tokens: decided in each generation.
        warmup: repeats before the first that counts.
        repeats: that count.
        device: ``cpu`` or ``cuda``; waited for wherever the clock is read.

    Returns:
        Model name to mode to its timings, in the order of the repeats.

    Raises:
        models.errors.ModelError: for a prompt that with ``new_tokens`` exceeds a model's positions, or a mode that
            takes more modules than a model has.
    """
    assert models.keys() == prompts.keys() and all(prompts.values()), "every model needs a prompt"
    synchronise = synchroniser(device)
    decoders = {name: decoder_of(model) for name, model in models.items()}
    timings: dict[str, dict[str, list[Timing]]] = {name: {mode: [] for mode in modes} for name in models}
    turns = [(name, mode) for mode in modes for name in models]
    for number in tqdm(range(warmup + repeats), unit="round", disable=not sys.stderr.isatty()):
        for name, mode in turns if number % 2 == 0 else reversed(turns):
            prompt = prompts[name][number % len(prompts[name])]
            begin = partial(decoders[name], prompt, SCHEDULES[mode], new_tokens)
            timing = time_stream(begin, synchronise)
            if number >= warmup:
                timings[name][mode].append(timing)
    return timings


def decoder_of(model: SpeechModel) -> Decode:
    """How a model decodes where it is timed, by its own ``decoding``; made once per model, before the clock runs."""
    return partial(model.engine.stream, constrained=model.decoding.constrained)


def synchroniser(device: str) -> Callable[[], None]:
    """Waits until the device has done what it was given; on a CPU there is nothing to wait for."""
    return torch.cuda.synchronize if device == "cuda" else lambda: None
