"""Decoding at the width of a Qwen2.5 with ten modules, random weights, beside transformers on the same backbone.

    python tests/bench/decoding_width.py                        # 0.5B in float32 on one CPU thread, then on two
    python tests/bench/decoding_width.py --threads 1 --rounds 1
    python tests/bench/decoding_width.py --device cuda --size 7b  # in bfloat16, steps replayed as CUDA graphs

All variants take turns, and each figure is a median over the rounds. Beside the speed stands the roofline: what the
bytes of a schedule's steps allow over Vanilla's, and which share of the memory's speed (measured by reading one large
matrix) the steps reach. Steps of modules are constrained to the 16,384 audio tokens and the ids around them. On CPUs
the same number of layers on next to no width gives what a step takes beside its arithmetic, and a replay of that
step's operations without Python (TorchScript's interpreter) how much of it is Python's.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from figures import show
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM, StaticCache

from models import SCHEDULES, AudioWords, Engine, MctpConfig, MctpForCausalLM
from models.decoding import Decoder, Memory
from models.streaming import FIRST_CHUNK

VOCABULARY, FIRST_AUDIO, AUDIO = 168_072, 151_685, 16_384
MARKERS = (151_666, 151_667, 151_645)  # of audio, and the end of the turn
MODULES = 10
COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
}
SIZES: dict[str, dict[str, Any]] = {  # of Qwen2.5; the layers are the backbone's
    "0.5b": {
        **COMMON,
        "num_hidden_layers": 24,
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
    },
    "7b": {
        **COMMON,
        "num_hidden_layers": 28,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
}
NEXT_TO_NOTHING = {"hidden_size": 28, "intermediate_size": 32, "vocab_size": 256, "num_attention_heads": 14}
NEXT_TO_NOTHING["num_key_value_heads"] = 2
PROMPT, NEW = 32, 44  # four rounds of Turbo


def main() -> None:
    """Each number of threads in turn, on the same weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=SIZES, default="0.5b")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, nargs="*", help="1 and 2 on a CPU if not given, 1 on a GPU")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    is_gpu = options.device == "cuda"
    model = made(SIZES[options.size], torch.device(options.device))
    rival = plain_backbone(model, options.size)
    prompt = torch.randint(0, 151_000, (PROMPT,)).tolist()
    engine = Engine(model, audio_words=AudioWords(FIRST_AUDIO, AUDIO, MARKERS), static=is_gpu)
    narrow = Engine(made(SIZES[options.size] | NEXT_TO_NOTHING, torch.device(options.device)))
    sizes = bytes_of(model)
    del model
    for threads in options.threads or ((1,) if is_gpu else (1, 2)):
        torch.set_num_threads(threads)
        variants: dict[str, Callable[[], object]] = {
            "transformers": lambda: static_loop(rival, prompt),
            **{
                mode: lambda schedule=schedule: engine.generate(prompt, schedule, NEW, constrained=True)
                for mode, schedule in SCHEDULES.items()
            },
            "prefill": lambda: engine.generate(prompt, SCHEDULES["vanilla"], 1),
            **{
                f"first chunk, {mode}": lambda mode=mode: first_chunk(engine, prompt, mode)
                for mode in ("vanilla", "turbo")
            },
        }
        if not is_gpu:
            variants["overhead"] = lambda: narrow.generate([1], SCHEDULES["vanilla"], NEW)
            variants["operations"] = replayed(narrow)
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        speeds = []
        for number in range(options.rounds + 1):
            for name, run in variants.items():
                began = time.perf_counter()
                run()
                if number:  # the first is the warm-up
                    seconds[name].append(time.perf_counter() - began)
            speeds.append(reading_speed(engine.weights._head_VD))
        report(seconds, sizes, max(speeds), options, threads)


def first_chunk(engine: Engine, prompt: list[int], mode: str) -> list[int]:
    """As many tokens as a first piece of audio has, prefill included."""
    return engine.generate(prompt, SCHEDULES[mode], FIRST_CHUNK, constrained=True)


def replayed(engine: Engine) -> Callable[[], object]:
    """As many steps of the backbone as a generation has, one and the same each time, without Python."""
    decoder = Decoder(Memory(engine.weights, 1, PROMPT + NEW, 0), 0, [1] * (NEW // 2), engine.chooser(None))
    decoder.backbone_step()

    class Step(torch.nn.Module):
        def forward(self, nothing: Tensor) -> Tensor:
            decoder.backbone_rows = len(decoder.tokens) - 1
            return nothing + engine.weights.head.likeliest(decoder.read_backbone())

    nothing = torch.zeros(1, dtype=torch.long)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # the place is meant to be fixed
        warnings.simplefilter("ignore", DeprecationWarning)
        step = torch.jit.trace(Step(), (nothing,), check_trace=False)

    def run() -> None:
        with torch.inference_mode(), torch.jit.optimized_execution(False):  # type: ignore[no-untyped-call]
            for _ in range(NEW):
                step(nothing)

    return run


def report(
    seconds: dict[str, list[float]],
    sizes: dict[str, int],
    speed: float,
    options: argparse.Namespace,
    threads: int,
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
    where = f"{'bfloat16 on a GPU' if options.device == 'cuda' else 'float32'}, {threads} threads"
    note = (
        f"{options.size}'s width, {SIZES[options.size]['num_hidden_layers']} layers, {MODULES} modules, vocabulary "
        f"{VOCABULARY:,}, {where}, prompt {PROMPT}, {NEW} new tokens with prefill, median of {options.rounds}; memory "
        f"read at {speed / 1e9:.1f} GB/s; first {FIRST_CHUNK} tokens: Turbo takes "
        f"{times['first chunk, turbo'] / times['first chunk, vanilla']:.2f} of Vanilla's time; "
        f"a backbone step takes {step * 1e3:.1f} ms"
    )
    if "overhead" in times:
        overhead, own = times["overhead"] / NEW, (times["overhead"] - times["operations"]) / NEW
        note += (
            f"; on next to no width {overhead * 1e3:.2f} ms ({overhead / step:.1%}), of which Python's own are "
            f"{own * 1e3:.2f} ms ({own / step:.1%})"
        )
    show(f"decoding at width, {where}", note, rows, options.device)


def made(sizes: dict[str, Any], device: torch.device) -> MctpForCausalLM:
    """Random weights; on a GPU in bfloat16."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    sizes = sizes | {"num_hidden_layers": sizes["num_hidden_layers"] + MODULES}
    config = MctpConfig(**sizes, num_nextn_predict_layers=MODULES)
    with device:
        model: MctpForCausalLM = MctpForCausalLM._from_config(config, dtype=dtype)
    return model.eval()


def plain_backbone(model: MctpForCausalLM, size: str) -> Qwen2ForCausalLM:
    """transformers' own model on the very tensors of the backbone."""
    config = Qwen2Config(**SIZES[size])
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
    device = rival.lm_head.weight.device
    ids_1T = torch.tensor([prompt], device=device)
    tokens: list[int] = []
    for _ in range(NEW):
        start = PROMPT + len(tokens) - ids_1T.shape[1]
        positions_1T = torch.arange(start, start + ids_1T.shape[1], device=device)[None]
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

    layers, backbone = model.model.layers, model.config.backbone_layers
    row = model.lm_head.weight[0].nbytes
    return {
        "backbone": size(*layers[:backbone]),
        "module": size(layers[backbone], model.mtp_projs[0]),
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
        _wait(matrix_VD)
        began = time.perf_counter()
        torch.mv(matrix_VD, vector_D)
        _wait(matrix_VD)
        best = min(best, time.perf_counter() - began)
    return matrix_VD.nbytes / best


def _wait(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
