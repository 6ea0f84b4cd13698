"""Verified decoding beside Vanilla, Boost and Turbo: tokens per second, and how many drafts are kept.

``--home`` takes a home whose last stage has been trained, and continues rows of its lake; without it the weights are
random, in the tiny profile's sizes: hardly a draft is kept then, and the figures show what verifying costs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

import torch
from figures import show
from tiny_model import make_model

from models import SCHEDULES, Acceptance, Engine
from training_jobs.latency import time_stream

PROMPT_TOKENS = 32
NEW_TOKENS = 200
REPEATS = 5
DRAFTS = (2, 4, 10)
Stream = Callable[[list[int]], Iterator[int]]


def main() -> None:
    """Compare, the ways taking turns, so that a busy moment of the machine hits all alike."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="of a run whose stages have been trained")
    home = parser.parse_args().home
    torch.set_num_threads(1)
    torch.manual_seed(0)
    engine, prompts, weights = random_weights() if home is None else trained_weights(home)
    modules = engine.config.num_nextn_predict_layers
    ways: dict[str, Stream] = {
        mode: partial(engine.stream, schedule=SCHEDULES[mode], max_new_tokens=NEW_TOKENS)
        for mode in ("vanilla", "boost", "turbo")
        if max(SCHEDULES[mode][1::2]) <= modules
    }
    found: dict[str, Acceptance] = {}
    for drafts in (one for one in DRAFTS if one <= modules):
        name = f"verified, {drafts} drafts"
        found[name] = Acceptance()
        ways[name] = partial(
            engine.stream_verified, drafts=drafts, max_new_tokens=NEW_TOKENS, acceptance=found[name]
        )
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    unequal = 0
    for repeat, prompt in enumerate(prompts):
        if repeat == 1:  # the first is the warm-up
            for counted in found.values():
                counted.rounds = counted.drafted = counted.accepted = 0
        ids = {}
        for name, begin in ways.items():
            timing = time_stream(partial(begin, prompt), lambda: None)
            ids[name] = timing.token_ids
            if repeat:
                seconds[name].append(timing.arrivals_s[-1])
        unequal += sum(ids[name] != ids["vanilla"] for name in found)
    vanilla = median(seconds["vanilla"])
    rows = [
        {
            "mode": name,
            "tokens per second": NEW_TOKENS / median(times),
            "speed-up": vanilla / median(times),
            "tokens per backbone pass": found[name].mean_length if name in found else "–",
            "drafts kept": found[name].accepted / found[name].drafted if name in found else "–",
        }
        for name, times in seconds.items()
    ]
    note = f"{weights}, {NEW_TOKENS} new tokens, float32, one CPU thread, median of {REPEATS}"
    show("verified decoding", f"{note}; answers that are not Vanilla's: {unequal}", rows)
    if unequal:
        sys.exit(1)


def random_weights() -> tuple[Engine, list[list[int]], str]:
    """Engine, prompts, and what to say of them."""
    model = make_model()
    prompts = torch.randint(0, model.config.vocab_size, (REPEATS + 1, PROMPT_TOKENS)).tolist()
    return Engine(model), prompts, f"random weights, prompt of {PROMPT_TOKENS}"


def trained_weights(home: Path) -> tuple[Engine, list[list[int]], str]:
    """The same of a home's last stage."""
    from models import load_audio_tokenizer
    from training_jobs.dialogue import SpeechModel
    from training_jobs.evaluation_rows import held_out_rows
    from training_jobs.rows import encode_prompt
    from validation.lake import Lake

    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(home.rglob("evaluat*/job.json"))]
    if not found:
        sys.exit(f"{home} has no evaluation to take the checkpoint and its rows from")
    job = found[-1]
    speech = SpeechModel.load(Path(job["model_dir"]), ratio=job["ratio"])
    digest = load_audio_tokenizer(Path(job["tokenizer_dir"])).digest
    held_out = held_out_rows(Lake(job["lake"]), job["corpora"], digest, REPEATS + 1, job["seed"]).rows
    prompts = [encode_prompt(row.messages, row.audio_tokens, speech.tokenizer) for row in held_out]
    room = speech.engine.config.max_position_embeddings - NEW_TOKENS
    fitting = [prompt for prompt in prompts if len(prompt) <= room][: REPEATS + 1]
    return speech.engine, fitting, f"{job['model_dir']}, {len(fitting)} held-out prompts"


if __name__ == "__main__":
    main()
