"""A stage small enough to train in a second, what it starts from, and what it leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors.torch import load_file

from training_jobs import base_model
from training_jobs.jobs import BaseModelJob, Tracking, TrainJob, read_result
from training_jobs.pack_files import write_rows, write_sample_tokens
from training_jobs.packing import Sample, fill_row, pack_best_fit
from training_jobs.plan import ROW_TOKENS_FILE, SAMPLES_FILE, SAMPLES_SCHEMA, write_plan
from training_jobs.profile import BaseModelSettings, ProgramLimits, TinyBackbone
from training_jobs.reporting import Reporter
from training_jobs.spec import StageSpec, load_stage

LENGTH, CODES = 64, 8
RANK_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
SIZES = TinyBackbone(
    hidden_size=16,
    intermediate_size=32,
    layers=2,
    attention_heads=2,
    key_value_heads=1,
    max_position_embeddings=128,
)
LIMITS = ProgramLimits(grace_s=120, stall_s=600, collective_s=120)
SPEC = load_stage("sft", "tiny").model_copy(
    update={
        "mctp_modules": 2,
        "steps": 12,
        "sequence_length": LENGTH,
        "checkpoints": 4,
        "learning_rate": 1e-2,
    }
)


def make_base(output: Path, sizes: TinyBackbone = SIZES, codes: int = CODES) -> Path:
    """The model that a stage starts from; returns its directory."""
    job = BaseModelJob(settings=BaseModelSettings(make=sizes), audio_codes=codes, seed=1, output_dir=output)
    base_model.run(job, Reporter(lambda line: None))
    return output / "model"


def make_packs(directory: Path, length: int = LENGTH, count: int = 60) -> Path:
    """Rows of short counting samples, packed by the project's own functions: sixteen of 64 tokens from 60 samples."""
    rng = np.random.default_rng(0)
    samples = []
    for number in range(count):
        start, size = int(rng.integers(0, 200)), int(rng.integers(8, 24))
        ids = (start + np.arange(size, dtype=np.int32)) % 250
        samples.append(Sample(f"c/{number}", ("c", "text"), ids, ids.copy()))
    rows = pack_best_fit([len(sample) for sample in samples], [0] * len(samples), length, rng)
    packed = [fill_row([samples[index] for index in row], length, 0) for row in rows]
    write_rows(directory, packed, len(packed), length)
    plan = {
        "tokens": sum(row.tokens for row in packed),
        "data_digest": "d",
        "seed": 0,
        "sequence_length": length,
        "tasks": ["text"],
        "sources": {"c/text": {"drawn": 60, "samples": 60, "tokens": 900, "hours": 0.0}},
    }
    write_plan(directory, plan)
    sizes = np.array([len(samples[index]) for index in rows.members], dtype=np.int32)
    write_sample_tokens(directory, rows.starts, sizes, np.zeros_like(sizes))
    np.save(directory / ROW_TOKENS_FILE, np.array([row.tokens for row in packed], dtype=np.int32))
    named = [
        {"row": number, "corpus": "c", "row_id": samples[index].name.removeprefix("c/")}
        for number, row in enumerate(rows)
        for index in row
    ]
    pl.DataFrame(named, schema=SAMPLES_SCHEMA).write_parquet(directory / SAMPLES_FILE)
    return directory


@dataclass
class Lines:
    """Log lines, and what to do at one of them."""

    at: Callable[[str], None] = lambda line: None
    lines: list[str] = field(default_factory=list)

    def log(self, line: str) -> None:
        self.lines.append(line)
        self.at(line)


def make_job(
    output: Path, start: Path, packs: Path, store: Tracking, spec: StageSpec = SPEC, start_digest: str = "s"
) -> TrainJob:
    return TrainJob(
        spec=spec,
        start_dir=start,
        start_digest=start_digest,
        packs_dir=packs,
        output_dir=output,
        tracking=store,
        limits=LIMITS,
    )


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "model" / "model.safetensors")


def losses(output: Path) -> list[float]:
    return [record["loss"] for record in json.loads((output / "history.json").read_text())["steps"]]


def result(output: Path) -> dict[str, Any]:
    value = read_result(output)
    assert value is not None
    return value


def assert_same_outcome(one: Path, two: Path) -> None:
    """To the last bit: on CPUs the same sums are made in the same order."""
    assert losses(one) == losses(two)
    by_task = [json.loads((output / "history.json").read_text())["tasks"] for output in (one, two)]
    assert by_task[0] == by_task[1] and by_task[0]
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    assert not [name for name, tensor in first.items() if not torch.equal(tensor, second[name])]
