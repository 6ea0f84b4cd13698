"""A training step over packed rows: attention window by window, and under one mask over the row."""

from __future__ import annotations

import time
from statistics import median

import torch
from figures import show
from tiny_model import make_model

from models.windowed_attention import WINDOWED
from training_jobs.spec import load_stage

SAMPLE_TOKENS = 60  # of the demo's utterances
REPEATS = 5


def main() -> None:
    """Compare, the two taking turns, so that a busy moment of the machine hits both alike."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = make_model().train()
    length = load_stage("sft", "tiny").sequence_length
    ids_BT = torch.randint(0, model.config.vocab_size, (1, length))
    position_ids_BT = (torch.arange(length) % SAMPLE_TOKENS)[None]
    seconds: dict[str, list[float]] = {WINDOWED: [], "sdpa": []}
    for repeat in range(REPEATS + 1):
        for attention, times in seconds.items():
            model.set_attn_implementation(attention)
            began = time.perf_counter()
            model(input_ids=ids_BT, labels=ids_BT, position_ids=position_ids_BT).loss.backward()
            if repeat:  # the first is the warm-up
                times.append(time.perf_counter() - began)
    whole = median(seconds["sdpa"])
    rows = [
        {"attention": name, "ms per step": 1000 * median(times), "of one mask": median(times) / whole}
        for name, times in seconds.items()
    ]
    note = f"{length} tokens in samples of {SAMPLE_TOKENS}, float32, one CPU thread, median of {REPEATS}"
    show("attention over a packed row", note, rows)


if __name__ == "__main__":
    main()
