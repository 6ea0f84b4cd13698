"""A training step beside a plain implementation of it: tokens per second, peak memory, arithmetic reached.

    python tests/bench/training.py                                     # width 896, 4 + 10 layers, 1,024 tokens
    python tests/bench/training.py --device cuda --size 7b --tokens 8192 --kernels

The plain one is what transformers' parts give by default: one 4-D mask over the row, and float32 logits of every
position for the backbone and each of the ten modules. Same weights, same batch, each in a process of its own, in turns.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from statistics import median
from typing import Any

import torch
from figures import show
from torch import Tensor
from torch.nn import functional

from models import MctpConfig, MctpForCausalLM
from models.packed_attention import choose, visible
from models.packing import IGNORED, segments_of, shifted_labels

VOCABULARY, MODULES = 168_072, 10
SIZES: dict[str, dict[str, Any]] = {  # of Qwen2.5
    "0.5b": {"hidden_size": 896, "intermediate_size": 4864, "num_attention_heads": 14},
    "1.5b": {"hidden_size": 1536, "intermediate_size": 8960, "num_attention_heads": 12},
    "7b": {"hidden_size": 3584, "intermediate_size": 18944, "num_attention_heads": 28},
}
KEY_HEADS = {"0.5b": 2, "1.5b": 2, "7b": 4}
VARIANTS = ("plain", "voxline", "voxline, checkpointed")
SAMPLE_TOKENS = (60, 400)


def main() -> None:
    """Run the variants in turns and compare them with the plain one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="0.5b", help="widths of which Qwen2.5")
    parser.add_argument("--layers", type=int, default=4, help="of the backbone; the modules have one each")
    parser.add_argument("--tokens", type=int, default=1024, help="of the packed row")
    parser.add_argument(
        "--labelled", type=float, default=0.55, help="share of each sample's tokens, at its end"
    )
    parser.add_argument("--repeats", type=int, default=1, help="timed steps of a process")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each variant")
    parser.add_argument("--variants", nargs="*", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="bfloat16 on a GPU if not given")
    parser.add_argument("--kernels", action="store_true", help="print where a GPU's time goes")
    parser.add_argument("--only", choices=VARIANTS, help=argparse.SUPPRESS)  # this process is one of them
    options = parser.parse_args()
    options.dtype = options.dtype or ("bfloat16" if options.device == "cuda" else "float32")
    if options.only:
        sys.stdout.write(json.dumps(measure(options)) + "\n")
        return
    found: dict[str, list[dict[str, Any]]] = {variant: [] for variant in options.variants}
    for _ in range(options.rounds):
        for variant, runs in found.items():
            runs.append(_child(variant))
    first = found[options.variants[0]][0]
    for runs in found.values():  # what is not the same computation is not compared
        for run in runs:
            tolerance = 1e-4 if options.dtype == "float32" else 3e-2
            assert abs(run["loss"] - first["loss"]) <= tolerance * first["loss"], (run, first)
            assert abs(run["gradient_norm"] - first["gradient_norm"]) <= tolerance * first["gradient_norm"]
    note = (
        f"width of Qwen2.5-{options.size}, {VOCABULARY:,} words, {options.layers} + {MODULES} layers, "
        f"{options.tokens:,} tokens in samples of {SAMPLE_TOKENS[0]} to {SAMPLE_TOKENS[1]}, "
        f"{first['labels']} of them labels, {options.dtype} on {options.device}, {first['threads']} threads, "
        f"median of {options.rounds} x {options.repeats}; peak of the whole process"
    )
    show("training step", note, _table(found, options), options.device)


def _child(variant: str) -> dict[str, Any]:
    command = [sys.executable, __file__, *sys.argv[1:], "--only", variant]
    *before, last = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    sys.stdout.write("".join(f"{line}\n" for line in before))
    found: dict[str, Any] = json.loads(last)
    return found


def _table(found: dict[str, list[dict[str, Any]]], options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for variant, runs in found.items():
        seconds = median(second for run in runs for second in run["seconds"])
        rows.append(
            {
                "step": variant,
                "tokens per s": options.tokens / seconds,
                "peak GiB": max(run["peak_bytes"] for run in runs) / 2**30,
                "useful TFLOP/s": runs[0]["flop"] / seconds / 1e12,
                "of a bare product": runs[0]["flop"] / seconds / median(run["product"] for run in runs),
            }
        )
    first = rows[0]
    return [
        row
        | {
            f"speed to {first['step']}": row["tokens per s"] / first["tokens per s"],
            f"memory to {first['step']}": row["peak GiB"] / first["peak GiB"],
        }
        for row in rows
    ]


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Steps of one variant, in this process: seconds of each, peak memory, and what it computed."""
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    model = _model(options, device, dtype)
    batch = _batch(options, device)
    step = plain_loss if options.only == "plain" else _our_loss
    if options.only == "voxline, checkpointed":
        model.activation_checkpointing_enable()
    warm_up = tuple(tensor[:, :64].contiguous() for tensor in batch)
    seconds = []
    for repeat in range(1 + options.repeats):
        model.zero_grad(set_to_none=True)
        _wait(device)
        began = time.perf_counter()
        loss = step(model, *(batch if repeat else warm_up))
        loss.backward()
        _wait(device)
        if repeat:
            seconds.append(time.perf_counter() - began)
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    norms = [parameter.grad.float().norm() for parameter in model.parameters() if parameter.grad is not None]
    if options.kernels:
        _print_kernels(model, step, batch)
    labels = int((batch[1] != IGNORED).sum())
    return {
        "seconds": seconds,
        "peak_bytes": peak,
        "loss": loss.item(),
        "gradient_norm": torch.stack(norms).norm().item(),
        "labels": labels,
        "flop": _useful_flop(model, batch),
        "product": _bare_product(device, dtype),
        "threads": torch.get_num_threads(),
    }


def plain_loss(model: MctpForCausalLM, ids: Tensor, labels: Tensor, position_ids: Tensor) -> Tensor:
    """The loss of the model's weights, with one mask for the row and all logits."""
    segments = segments_of(position_ids)
    embeddings = model.model.embed_tokens(ids)
    arguments = {
        "attention_mask": visible(segments),
        "position_embeddings": model.model.rotary_emb(embeddings, position_ids),
    }
    states = embeddings
    for layer in model.model.layers[: model.config.backbone_layers]:
        states = layer(states, **arguments)
    states = model.model.norm(states)
    loss = _plain_cross_entropy(model, states, shifted_labels(labels, segments, 1))
    for index in range(MODULES):
        states = model._run_module(index, embeddings, states, arguments)
        loss = (
            loss + _plain_cross_entropy(model, states, shifted_labels(labels, segments, index + 2)) / MODULES
        )
    return loss


def _plain_cross_entropy(model: MctpForCausalLM, states: Tensor, targets: Tensor) -> Tensor:
    logits = model.lm_head(states).float()
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def _our_loss(model: MctpForCausalLM, ids: Tensor, labels: Tensor, position_ids: Tensor) -> Tensor:
    loss = model(ids, labels=labels, position_ids=position_ids).loss
    assert loss is not None
    return loss


def _model(options: argparse.Namespace, device: torch.device, dtype: torch.dtype) -> MctpForCausalLM:
    torch.manual_seed(0)
    config = MctpConfig(
        **SIZES[options.size],
        vocab_size=VOCABULARY,
        num_hidden_layers=options.layers + MODULES,
        num_key_value_heads=KEY_HEADS[options.size],
        num_nextn_predict_layers=MODULES,
        tie_word_embeddings=options.size != "7b",
    )
    attention = "sdpa" if options.only == "plain" else choose(device, dtype)
    with device:  # random numbers of this many parameters take a CPU a minute
        model: MctpForCausalLM = MctpForCausalLM._from_config(
            config, dtype=dtype, attn_implementation=attention
        )
    return model.train()


def _batch(options: argparse.Namespace, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """One row: ids, labels, positions."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCABULARY, (options.tokens,), generator=generator)
    labels, positions = ids.clone(), torch.empty_like(ids)
    start = 0
    while start < options.tokens:
        length = int(torch.randint(*SAMPLE_TOKENS, (1,), generator=generator))
        end = min(start + length, options.tokens)
        positions[start:end] = torch.arange(end - start)
        labels[start : start + round((end - start) * (1 - options.labelled))] = IGNORED
        start = end
    row = tuple(tensor[None].to(device) for tensor in (ids, labels, positions))
    return row[0], row[1], row[2]


def _useful_flop(model: MctpForCausalLM, batch: tuple[Tensor, Tensor, Tensor]) -> float:
    """Six per weight and token, of the head only where labels are: what any implementation has to do."""
    head = model.lm_head.weight.numel()
    body = sum(parameter.numel() for parameter in model.parameters()) - head
    if not model.config.tie_word_embeddings:
        body -= head  # the embedding is looked up
    segments = segments_of(batch[2])
    labels = sum(
        int((shifted_labels(batch[1], segments, shift) != IGNORED).sum()) for shift in range(1, MODULES + 2)
    )
    return 6.0 * (body * batch[0].numel() + head * labels)


def _bare_product(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of one large matrix product here: the most that any step could reach."""
    width = 8192 if device.type == "cuda" else 2048
    one = torch.randn(width, width, dtype=dtype, device=device)
    taken = []
    for _ in range(6):
        _wait(device)
        began = time.perf_counter()
        one @ one
        _wait(device)
        taken.append(time.perf_counter() - began)
    return 2.0 * width**3 / min(taken)


def _print_kernels(model: MctpForCausalLM, step: Any, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    with torch.profiler.profile() as profile:
        step(model, *batch).backward()
        _wait(batch[0].device)
    by = "self_cuda_time_total" if batch[0].is_cuda else "self_cpu_time_total"
    sys.stdout.write(profile.key_averages().table(sort_by=by, row_limit=12) + "\n")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
