"""Checkpoints to register: a trained one, one with noise in its weights, and one with layers that do nothing."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import torch
from safetensors.torch import load_file, save_file

from training_jobs.benchmark_settings import BenchmarkSettings
from training_jobs.decoding_settings import FULL_HEAD, DecodingSettings
from training_jobs.jobs import RegisterJob, Tracking, write_result
from training_jobs.profile import EvaluationSettings
from training_jobs.tracking_store import REGISTERED_MODEL, connect

_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)")


@contextmanager
def empty_registry(tracking: Tracking) -> Iterator[None]:
    """No versions yet, and MLflow's process-wide addresses as they were afterwards."""
    before = mlflow.get_tracking_uri()
    client = connect(tracking)
    if client.search_registered_models(f"name='{REGISTERED_MODEL}'"):
        client.delete_registered_model(REGISTERED_MODEL)
    yield
    mlflow.set_tracking_uri(before)
    mlflow.set_registry_uri(None)


def register_job(trained: Any, tracking: Tracking, folder: Path) -> RegisterJob:
    """For the trained model, with good figures of its own."""
    write_figures(folder)
    return RegisterJob(
        lake=trained.lake,
        corpora=["words"],
        model_dir=trained.model_dir,
        tokenizer_dir=trained.tokenizer_dir,
        ratio=(1, 10, 4, 10),
        evaluation=EvaluationSettings(max_rows_per_slice=3, max_new_tokens=32),
        benchmark=BenchmarkSettings(prompt_tokens=[32], new_tokens=24, repeats=[3], warmup=1),
        seed=1,
        evaluation_dir=folder / "evaluation",
        benchmark_dir=folder / "benchmark",
        output_dir=folder / "registered",
        tracking=tracking,
    )


def write_figures(
    folder: Path,
    wer: float = 0.1,
    boost_rate: float = 250.0,
    held_out: str = "c" * 64,
    decoding: DecodingSettings = FULL_HEAD,
) -> None:
    """What evaluation and benchmark leave."""
    scores = {"asr_known_wer": wer, "asr_known_exact": 1 - wer}
    evaluation: dict[str, Any] = {
        "overall": {"vanilla": scores, "boost": scores},
        "scores_markdown": "| a |\n|---|",
    }
    write_result(
        folder / "evaluation",
        {**evaluation, "held_out_digest": held_out, "decoding": decoding.model_dump(), "run_id": "x"},
    )
    modes = {
        mode: {"mode": mode, "tokens_per_second_p50": rate, "first_chunk_ms_p50": 1e4 / rate}
        for mode, rate in (("vanilla", 100.0), ("boost", boost_rate))
    }
    result = {"modes": modes, "hardware_digest": "a" * 64, "latency_markdown": "| b |\n|---|", "run_id": "y"}
    write_result(folder / "benchmark", result)


def other_model(job: RegisterJob, directory: Path, noise: float = 0.0, idle_layers: int = 0) -> RegisterJob:
    """The same job for other weights.

    Args:
        noise: of each weight, in its matrix's standard deviations; 0: a hardly different model with the same answers.
        idle_layers: layers more in the backbone, whose output projections are zero: the same answers, later.
    """
    shutil.copytree(job.model_dir, directory)
    path = directory / "model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"] = tensors["model.norm.weight"] * 1.0001
    if noise:
        torch.manual_seed(0)
        tensors = {
            name: tensor + noise * tensor.std() * torch.randn_like(tensor) if tensor.dim() == 2 else tensor
            for name, tensor in tensors.items()
        }
    if idle_layers:
        tensors = _deepened(directory / "config.json", tensors, idle_layers)
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata={"format": "pt"}
    )
    return job.model_copy(update={"model_dir": directory})


def _deepened(config_path: Path, tensors: dict[str, torch.Tensor], more: int) -> dict[str, torch.Tensor]:
    config = json.loads(config_path.read_text())
    backbone = config["num_hidden_layers"] - config["num_nextn_predict_layers"]
    config["num_hidden_layers"] += more
    config.pop("layer_types", None)
    config_path.write_text(json.dumps(config))
    deeper = {}
    for name, tensor in tensors.items():
        found = _LAYER.fullmatch(name)
        if found is None:
            deeper[name] = tensor
            continue
        number, rest = int(found[1]), found[2]
        # The modules' layers stand behind the backbone's.
        deeper[f"model.layers.{number + more if number >= backbone else number}.{rest}"] = tensor
        if number == 0:
            for idle in range(backbone, backbone + more):
                is_output = rest in ("self_attn.o_proj.weight", "mlp.down_proj.weight")
                deeper[f"model.layers.{idle}.{rest}"] = (
                    torch.zeros_like(tensor) if is_output else tensor.clone()
                )
    return deeper
