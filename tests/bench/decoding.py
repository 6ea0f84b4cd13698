"""Tokens per second of the decode modes on a model of the tiny profile's size, with random weights.

The asset `latency_benchmark` measures trained weights; this needs no training, for work on the decoder.
"""

from __future__ import annotations

from statistics import median

import torch
from figures import show
from tiny_model import make_model

from models import SCHEDULES, stream
from training_jobs.latency import time_stream

PROMPT_TOKENS = 32
NEW_TOKENS = 200
REPEATS = 5


def main() -> None:
    """Compare, the modes taking turns, so that a busy moment of the machine hits all alike."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = make_model()
    prompts = torch.randint(0, model.config.vocab_size, (REPEATS + 1, PROMPT_TOKENS)).tolist()
    seconds: dict[str, list[float]] = {mode: [] for mode in SCHEDULES}
    for repeat, prompt in enumerate(prompts):
        for mode, schedule in SCHEDULES.items():
            timing = time_stream(
                lambda prompt=prompt, schedule=schedule: stream(model, prompt, schedule, NEW_TOKENS),
                lambda: None,
            )
            if repeat:  # the first is the warm-up
                seconds[mode].append(timing.arrivals_s[-1])
    vanilla = median(seconds["vanilla"])
    rows = [
        {
            "mode": mode,
            "tokens per second": NEW_TOKENS / median(times),
            "ms per token": 1000 * median(times) / NEW_TOKENS,
            "speed-up": vanilla / median(times),
        }
        for mode, times in seconds.items()
    ]
    note = f"prompt of {PROMPT_TOKENS}, {NEW_TOKENS} new tokens, float32, one CPU thread, median of {REPEATS}"
    show("decode modes", note, rows)


if __name__ == "__main__":
    main()
