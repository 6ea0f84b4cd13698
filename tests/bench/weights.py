"""Weights in floats, 8 and 4 bits side by side: tokens per second, memory, and what they cost in quality.

    python tests/bench/weights.py                     # random weights at Qwen2.5-0.5B's width: speed and memory
    python tests/bench/weights.py --device cuda --size 7b  # the same in bfloat16 on a GPU, with int4
    python tests/bench/weights.py --home DIRECTORY    # a home's last stage: speed, and the cost on its held-out rows

The engines take turns, and each figure is a median over the rounds. Memory is what making the engine has added to the
process (on a GPU: to what torch has allocated); the embedding, which all share, is not in it. Quality is that of the
evaluation: word errors and exact matches of transcripts in Vanilla and Boost, the share of greedy tokens that agree
with the floats' on the same text, and the backbone's loss there.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, get_args

import psutil
import torch
from figures import show

from models import SCHEDULES, AudioWords, Engine
from models.decoding import Decoder, Memory
from models.quantized import Weights
from validation.allocators import give_back_now

MODES = ("vanilla", "boost", "turbo")
ROWS = 40  # held-out rows per slice of a home


def main() -> None:
    """Speed and memory at width, or speed and quality of a trained home."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--home", type=Path, help="of a run whose stages have been trained and evaluated")
    parser.add_argument("--size", choices=("0.5b", "7b"), default="0.5b", help="widths of which Qwen2.5")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    kinds = [kind for kind in get_args(Weights) if options.device == "cuda" or kind != "int4"]
    if options.home is not None:
        of_home(options.home, kinds, options.device)
    else:
        at_width(kinds, options.size, options.device, options.threads, options.rounds)


def at_width(kinds: list[Weights], size: str, device: str, threads: int, rounds: int) -> None:
    """Random weights: what is decoded means nothing, and how fast it is, the same."""
    from decoding_width import AUDIO, FIRST_AUDIO, MARKERS, NEW, PROMPT, SIZES, made

    model = made(SIZES[size], torch.device(device))
    is_gpu = device == "cuda"
    prompt = torch.randint(0, 151_000, (PROMPT,)).tolist()
    words = AudioWords(FIRST_AUDIO, AUDIO, MARKERS)
    engines, added = {}, {}
    for kind in kinds:
        before = memory(device)
        engines[kind] = Engine(model, audio_words=words, weights=kind, static=is_gpu)
        # What is made for the first generations only belongs to it.
        engines[kind].generate(prompt, SCHEDULES["turbo"], 12, constrained=True)
        engines[kind].generate_batch([prompt, prompt], SCHEDULES["turbo"], 12)
        added[kind] = memory(device) - before
    del model
    seconds: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds + 1):
        for mode in MODES:
            for kind, engine in engines.items():
                began = time.perf_counter()
                engine.generate(prompt, SCHEDULES[mode], NEW, constrained=True)
                if number:  # the first is the warm-up
                    seconds.setdefault((kind, mode), []).append(time.perf_counter() - began)
    rows = []
    for kind in kinds:
        row: dict[str, Any] = {"weights": kind, "MiB added": added[kind] / 2**20}
        for mode in MODES:
            row[f"{mode} tokens/s"] = NEW / median(seconds[kind, mode])
            row[f"{mode} of float"] = median(seconds["float", mode]) / median(seconds[kind, mode])
        rows.append(row)
    note = (
        f"{size}'s width, ten modules, random weights, {'bfloat16' if is_gpu else 'float32'} on {device}, "
        f"{threads} threads, prompt {PROMPT}, {NEW} new tokens with prefill, constrained, median of {rounds}; two "
        "layouts of each float matrix on a CPU"
    )
    show("weights at width", note, rows, device)


def of_home(home: Path, kinds: list[Weights], device: str) -> None:
    """The checkpoint, rows and limits of a home's evaluation."""
    from models import load_audio_tokenizer, load_model
    from training_jobs.decoding_settings import DecodingSettings
    from training_jobs.dialogue import SpeechModel, dtype_on
    from training_jobs.evaluation_figures import overall
    from training_jobs.evaluation_rows import held_out_rows
    from training_jobs.evaluation_tables import row_table
    from training_jobs.evaluation_worker import Answer, answer, start
    from training_jobs.jobs import EvaluateJob, read_job
    from validation.lake import Lake

    found = sorted(home.rglob("evaluation_report/*/job.json"))
    if not found:
        sys.exit(f"{home} has no evaluation to take the checkpoint and its rows from")
    job = read_job(EvaluateJob, found[-1])
    digest = load_audio_tokenizer(job.tokenizer_dir).digest
    asked = held_out_rows(Lake(job.lake), job.corpora, digest, ROWS, job.seed).rows
    spoken = [row for row in asked if row.task == "asr"]
    texts: list[list[int]] = []
    chosen: dict[str, list[list[int]]] = {}
    rows = []
    for kind in kinds:
        decoding = DecodingSettings(weights=kind)
        start(job.model_dir, job.ratio, decoding)
        answers, record = [], {"weights": kind}
        for mode in ("vanilla", "boost"):
            began = time.perf_counter()
            got = [answer(row, mode, job.settings.max_new_tokens) for row in spoken]
            kept = [one for one in got if isinstance(one, Answer)]
            record[f"{mode} tokens/s"] = sum(one.new_tokens for one in kept) / (time.perf_counter() - began)
            answers += kept
        figures = overall(row_table(spoken, answers))
        for mode, values in figures.items():
            record |= {
                f"{mode} {name}": value for name, value in values.items() if name.endswith(("_wer", "_exact"))
            }
        speech = SpeechModel(
            load_model(job.model_dir, device=device, dtype=dtype_on(device)),
            SpeechModel.load(job.model_dir).tokenizer,
            job.ratio,
            decoding,
        )
        if not texts:
            texts = [
                (prompt := speech.prompt(row.messages, row.audio_tokens, 64)[0])
                + speech.engine.generate(prompt, SCHEDULES["vanilla"], 64)
                for row in asked[:ROWS]
            ]
        losses, chosen[kind] = zip(*(read(speech.engine, text) for text in texts), strict=True)
        record["loss on the floats' replies"] = sum(losses) / len(losses)
        pairs = [
            pair
            for a, b in zip(chosen[kind], chosen["float"], strict=True)
            for pair in zip(a, b, strict=True)
        ]
        record["greedy tokens as the floats'"] = sum(a == b for a, b in pairs) / len(pairs)
        rows.append(record)
    note = f"{job.model_dir}, {len(spoken)} held-out utterances, {device}, transcripts in one process"
    show("weights of a trained model", note, rows, device)


@torch.inference_mode()
def read(engine: Engine, ids: list[int]) -> tuple[float, list[int]]:
    """The backbone's mean loss in nats for each next token, and the token that it would choose in its place."""
    decoder = Decoder(Memory(engine.weights, 1, len(ids), 0), 0, ids, engine.chooser(None))
    logits_TV = engine.weights.head.logits(decoder.read_backbone())[:-1].float()
    wanted_T = torch.tensor(ids[1:], device=logits_TV.device)
    return torch.nn.functional.cross_entropy(logits_TV, wanted_T).item(), logits_TV.argmax(dim=-1).tolist()


def memory(device: str) -> int:
    """Bytes that are taken now."""
    gc.collect()
    if device == "cuda":
        torch.cuda.synchronize()
        return int(torch.cuda.memory_allocated())
    give_back_now()
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    main()
