"""Decoding at the width of Qwen2.5-0.5B with ten modules, random weights, beside transformers on the same backbone.

    python tests/bench/decoding_width.py                        # float32 on one CPU thread, then on two
    python tests/bench/decoding_width.py --threads 1 --rounds 1

All variants take turns, and each figure is a median over the rounds. Beside the speed stands the roofline: what the
bytes of a schedule's steps allow over Vanilla's, and which share of the memory's speed (measured by reading one large
matrix) the steps reach. Steps of modules are constrained to the 16,384 audio tokens and the ids around them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from figures import show
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM, StaticCache

from models import SCHEDULES, AudioWords, Engine, MctpConfig, MctpForCausalLM

VOCABULARY, FIRST_AUDIO, AUDIO = 168_072, 151_685, 16_384
MARKERS = (151_666, 151_667, 151_645)  # of audio, and the end of the turn
LAYERS, MODULES = 24, 10
WIDTH: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
}
NARROW: dict[str, Any] = {**WIDTH, "hidden_size": 28, "intermediate_size": 32, "vocab_size": 256}
PROMPT, NEW = 32, 44  # four rounds of Turbo


def main() -> None:
    """Each number of threads in turn, on the same weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, nargs="*", default=(1, 2))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    model = made(WIDTH)
    rival = plain_backbone(model)
    prompt = torch.randint(0, 151_000, (PROMPT,)).tolist()
    words = AudioWords(FIRST_AUDIO, AUDIO, MARKERS)
    engine, narrow = Engine(model, audio_words=words), Engine(made(NARROW))
    sizes = bytes_of(model)
    del model
    for threads in options.threads:
        torch.set_num_threads(threads)
        variants: dict[str, Callable[[], object]] = {
            "transformers": lambda: static_loop(rival, prompt),
            **{
                mode: lambda schedule=schedule: engine.generate(prompt, schedule, NEW, constrained=True)
                for mode, schedule in SCHEDULES.items()
            },
            "overhead": lambda: narrow.generate([1], SCHEDULES["vanilla"], NEW),
            "prefill": lambda: engine.generate(prompt, SCHEDULES["vanilla"], 1),
        }
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        speeds = []
        for number in range(options.rounds + 1):
            for name, run in variants.items():
                began = time.perf_counter()
                run()
                if number:  # the first is the warm-up
                    seconds[name].append(time.perf_counter() - began)
            speeds.append(reading_speed(engine.weights._head_VD))
        report(seconds, sizes, max(speeds), threads, options.rounds)


def report(
    seconds: dict[str, list[float]], sizes: dict[str, int], speed: float, threads: int, rounds: int
) -> None:
    """Print the table of one number of threads."""
    times = {name: median(values) for name, values in seconds.items()}
    vanilla_bytes = traffic(SCHEDULES["vanilla"], sizes)
    rows: list[dict[str, Any]] = []
    for name in ("transformers", *SCHEDULES):
        per_token = traffic(SCHEDULES.get(name, [1, 0]), sizes)
        rows.append(
            {
                "variant": name,
                "tokens per second": NEW / times[name],
                "of Vanilla's": times["vanilla"] / times[name],
                "bytes allow": vanilla_bytes / per_token,
                "MB per token": per_token / 1e6,
                "GB per second": per_token * NEW / times[name] / 1e9,
                "of the memory's speed": per_token * NEW / times[name] / speed,
            }
        )
    step = (times["vanilla"] - times["prefill"]) / (NEW - 1)
    overhead = times["overhead"] / NEW
    note = (
        f"0.5B's width, {LAYERS} layers, {MODULES} modules, vocabulary {VOCABULARY:,}, float32, {threads} threads, "
        f"prompt {PROMPT}, {NEW} new tokens with prefill, median of {rounds}; memory read at {speed / 1e9:.1f} GB/s; "
        f"a step of the same number of layers on next to no width takes {overhead * 1e3:.2f} ms, "
        f"{overhead / step:.1%} of a backbone step of {step * 1e3:.0f} ms"
    )
    show(f"decoding at width, {threads} threads", note, rows)


def made(sizes: dict[str, Any]) -> MctpForCausalLM:
    """Random weights."""
    config = MctpConfig(
        **sizes, num_hidden_layers=LAYERS + MODULES, num_nextn_predict_layers=MODULES, dtype="float32"
    )
    return MctpForCausalLM(config).eval()


def plain_backbone(model: MctpForCausalLM) -> Qwen2ForCausalLM:
    """transformers' own model on the very tensors of the backbone."""
    config = Qwen2Config(**WIDTH, num_hidden_layers=LAYERS)
    with torch.device("meta"):
        rival = Qwen2ForCausalLM(config)
    names = rival.state_dict().keys()
    rival.load_state_dict({name: model.state_dict()[name] for name in names}, assign=True)
    rival.model.rotary_emb = model.model.rotary_emb
    return rival.eval()


@torch.inference_mode()
def static_loop(rival: Qwen2ForCausalLM, prompt: list[int]) -> list[int]:
    """Greedy decoding with transformers' static cache, a call per token, without what ``generate`` adds."""
    cache = StaticCache(config=rival.config, max_cache_len=PROMPT + NEW)
    ids_1T = torch.tensor([prompt])
    tokens: list[int] = []
    for _ in range(NEW):
        start = PROMPT + len(tokens) - ids_1T.shape[1]
        positions_1T = torch.arange(start, start + ids_1T.shape[1])[None]
        output = rival(
            input_ids=ids_1T,
            position_ids=positions_1T,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        ids_1T = output.logits[:, -1].argmax(dim=-1, keepdim=True)
        tokens.append(int(ids_1T))
    return tokens


def bytes_of(model: MctpForCausalLM) -> dict[str, int]:
    """What a step reads: the backbone, a module, the whole head, the constrained head."""

    def size(*parts: torch.nn.Module) -> int:
        return sum(parameter.nbytes for part in parts for parameter in part.parameters())

    layers = model.model.layers
    row = model.lm_head.weight[0].nbytes
    return {
        "backbone": size(*layers[:LAYERS]),
        "module": size(layers[LAYERS], model.mtp_projs[0]),
        "head": VOCABULARY * row,
        "audio_head": (AUDIO + len(MARKERS)) * row,
    }


def traffic(schedule: list[int], sizes: dict[str, int]) -> float:
    """Bytes of weights per token, as long as the schedule's last pair repeats."""
    backbone, mctp = schedule[-2:]
    read = backbone * (sizes["backbone"] + sizes["head"]) + mctp * (sizes["module"] + sizes["audio_head"])
    return read / (backbone + mctp)


def reading_speed(matrix_VD: Tensor) -> float:
    """Bytes per second that a product with a vector reads: the best of three."""
    vector_D = matrix_VD.new_ones(matrix_VD.shape[1])
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        torch.mv(matrix_VD, vector_D)
        best = min(best, time.perf_counter() - began)
    return matrix_VD.nbytes / best


if __name__ == "__main__":
    main()
