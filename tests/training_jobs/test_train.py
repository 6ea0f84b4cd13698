"""The training program: what it leaves, and that stopping, killing and damage do not change it.

Runs of one rank happen in this process; the ones marked slow are real torchrun launches of two ranks.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file

from models import load_model, save_model
from models.windowed_attention import WINDOWED
from training_jobs import base_model, train
from training_jobs.batches import PackedRows
from training_jobs.jobs import BaseModelJob, Tracking, TrainJob, read_result, write_job
from training_jobs.launch import train_command
from training_jobs.packing import Sample, fill_row, pack_best_fit
from training_jobs.plan import ARRAYS, write_plan
from training_jobs.probe import PROBE_ROWS
from training_jobs.profile import BaseModelSettings, TinyBackbone
from training_jobs.reporting import Reporter
from training_jobs.spec import StageSpec, load_stage

LENGTH, CODES = 64, 8
SIZES = TinyBackbone(
    hidden_size=16,
    intermediate_size=32,
    layers=2,
    attention_heads=2,
    key_value_heads=1,
    max_position_embeddings=128,
)
SPEC = load_stage("sft", "tiny").model_copy(
    update={
        "mctp_modules": 2,
        "steps": 12,
        "sequence_length": LENGTH,
        "checkpoints": 4,
        "learning_rate": 1e-2,
    }
)
DEADLINE_S = 120.0
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("base")
    job = BaseModelJob(settings=BaseModelSettings(make=SIZES), audio_codes=CODES, seed=1, output_dir=output)
    base_model.run(job, Reporter(lambda line: None))
    return output / "model"


@pytest.fixture(scope="module")
def packs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen rows of short counting samples, packed by the project's own functions."""
    directory, rng = tmp_path_factory.mktemp("packs"), np.random.default_rng(0)
    samples = []
    for number in range(60):
        start, size = int(rng.integers(0, 200)), int(rng.integers(8, 24))
        ids = (start + np.arange(size, dtype=np.int32)) % 250
        samples.append(Sample(f"c/{number}", ("c", "text"), ids, ids.copy()))
    rows = pack_best_fit([len(sample) for sample in samples], [0] * len(samples), LENGTH, rng)
    packed = [fill_row([samples[index] for index in row], LENGTH, 0) for row in rows]
    for name, arrays in zip(
        ARRAYS,
        zip(*((row.input_ids_T, row.labels_T, row.position_ids_T) for row in packed), strict=True),
        strict=True,
    ):
        np.save(directory / f"{name}.npy", np.stack(arrays))
    plan = {
        "rows": [[samples[index].name for index in row] for row in rows],
        "row_tokens": [row.tokens for row in packed],
        "tokens": sum(row.tokens for row in packed),
        "data_digest": "d",
        "seed": 0,
        "sequence_length": LENGTH,
    }
    write_plan(directory, plan)
    return directory


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    home = tmp_path_factory.mktemp("mlflow")
    return Tracking(uri=f"sqlite:///{home / 'mlflow.db'}", artifact_root=str(home / "artifacts"), tags={})


@dataclass
class Lines:
    """Log lines, and what to do at one of them."""

    at: Callable[[str], None] = lambda line: None
    lines: list[str] = field(default_factory=list)

    def log(self, line: str) -> None:
        self.lines.append(line)
        self.at(line)


@pytest.fixture
def one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    for name, value in ranks.items():
        monkeypatch.setenv(name, value)


def make_job(output: Path, start: Path, packs: Path, store: Tracking, spec: StageSpec = SPEC) -> TrainJob:
    return TrainJob(spec=spec, start_dir=start, packs_dir=packs, output_dir=output, tracking=store)


def weights(output: Path) -> dict[str, torch.Tensor]:
    return load_file(output / "model" / "model.safetensors")


def losses(output: Path) -> list[float]:
    return [record["loss"] for record in json.loads((output / "history.json").read_text())["steps"]]


def result(output: Path) -> dict[str, Any]:
    value = read_result(output)
    assert value is not None
    return value


def loss_over_probe(model_dir: Path, packs_dir: Path) -> float:
    """Mean loss over the evenly spaced rows, computed without the program's own loop."""
    model = load_model(model_dir)
    model.set_attn_implementation(WINDOWED)
    rows = PackedRows(packs_dir, seed=0, world_size=1, micro_batch=1, accumulation=1)
    total = 0.0
    with torch.no_grad():
        for row in np.linspace(0, rows.count - 1, PROBE_ROWS).astype(int):
            batch = rows.read((int(row),))
            output = model(
                input_ids=batch.input_ids_BT, labels=batch.labels_BT, position_ids=batch.position_ids_BT
            )
            total += float(output.loss)
    return total / PROBE_ROWS


def assert_same_outcome(one: Path, two: Path) -> None:
    assert losses(one) == pytest.approx(losses(two), abs=TOLERANCE)
    for name, tensor in weights(one).items():
        torch.testing.assert_close(tensor, weights(two)[name], atol=TOLERANCE, rtol=0)


@pytest.mark.usefixtures("one_rank")
def test_a_stage_learns_and_leaves_model_history_and_figures(
    tmp_path: Path, base_dir: Path, packs_dir: Path, store: Tracking
) -> None:
    lines = Lines()
    train.run(make_job(tmp_path, base_dir, packs_dir, store), Reporter(lines.log))
    figures = result(tmp_path)
    assert figures["last_loss"] < figures["first_loss"]
    assert figures["last_loss"] == pytest.approx(loss_over_probe(tmp_path / "model", packs_dir), abs=1e-4)
    assert len(figures["module_losses_last"]) == SPEC.mctp_modules
    assert figures["resumed_from"] is None
    assert figures["loss_curve_markdown"].startswith("![sft](data:image/png;base64,")
    assert len(losses(tmp_path)) == SPEC.steps
    model = load_model(tmp_path / "model")
    assert model.config.num_nextn_predict_layers == SPEC.mctp_modules
    assert (tmp_path / "model" / "tokenizer.json").is_file()
    assert not (tmp_path / "checkpoints").exists()
    assert any(line.startswith("sft 12/12 loss ") and line.endswith("0 s left") for line in lines.lines)
    _assert_tracked(store, figures)


def _assert_tracked(store: Tracking, figures: dict[str, Any]) -> None:
    from mlflow import MlflowClient

    run = MlflowClient(store.uri).get_run(figures["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    names = {
        "loss",
        "loss_backbone",
        "loss_module_0",
        "loss_module_1",
        "learning_rate",
        "grad_norm",
        "tokens_per_s",
    }
    assert names <= run.data.metrics.keys()
    assert run.data.params["steps"] == "12"


@pytest.mark.usefixtures("one_rank")
def test_a_stage_of_modules_only_leaves_the_backbone_as_it_was_and_resumes(
    tmp_path: Path, base_dir: Path, packs_dir: Path, store: Tracking
) -> None:
    """Frozen weights are not in the checkpoints: a resumed run takes them from where the stage started."""
    spec = load_stage("single_mctp", "tiny").model_copy(
        update={"steps": 12, "sequence_length": LENGTH, "checkpoints": 3}
    )
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train.run(make_job(whole, base_dir, packs_dir, store, spec), Reporter(Lines().log))
    before, after = load_file(base_dir / "model.safetensors"), weights(whole)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert any(name.startswith("mtp_") for name in after)

    def stop(line: str) -> None:
        if line.startswith("single_mctp 5/12"):
            os.kill(os.getpid(), signal.SIGTERM)

    job = make_job(stopped, base_dir, packs_dir, store, spec)
    with pytest.raises(SystemExit) as caught:
        train.run(job, Reporter(Lines(at=stop).log))
    assert caught.value.code == 128 + signal.SIGTERM
    assert read_result(stopped) is None
    train.run(job, Reporter(Lines().log))
    assert result(stopped)["resumed_from"] == "step-000006"
    assert_same_outcome(whole, stopped)


@pytest.mark.usefixtures("one_rank")
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, base_dir: Path, packs_dir: Path, store: Tracking
) -> None:
    def stop(line: str) -> None:
        if line.startswith("sft 7/12"):
            os.kill(os.getpid(), signal.SIGTERM)

    job = make_job(tmp_path, base_dir, packs_dir, store)
    with pytest.raises(SystemExit):
        train.run(job, Reporter(Lines(at=stop).log))
    newest = tmp_path / "checkpoints" / "step-000008"
    largest = max(newest.iterdir(), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as stream:
        stream.truncate(largest.stat().st_size // 2)
    lines = Lines()
    train.run(job, Reporter(lines.log))
    assert result(tmp_path)["resumed_from"] == "step-000006"
    assert any("step-000008 is not used" in line and largest.name in line for line in lines.lines)
    assert len(losses(tmp_path)) == SPEC.steps


@pytest.mark.usefixtures("one_rank")
def test_a_loss_that_is_no_number_stops_the_stage_with_step_and_samples(
    tmp_path: Path, base_dir: Path, packs_dir: Path, store: Tracking
) -> None:
    model = load_model(base_dir)
    with torch.no_grad():
        model.lm_head.weight[7] = float("nan")
    poisoned = tmp_path / "poisoned"
    save_model(model, poisoned)
    with pytest.raises(
        train.DivergedError, match=r"sft: loss is nan at step 0; rank 0 had the samples c/\d+"
    ):
        train.run(make_job(tmp_path / "out", poisoned, packs_dir, store), Reporter(Lines().log))
    assert read_result(tmp_path / "out") is None


def until(condition: Callable[[], bool], what: str) -> None:
    deadline, pause = time.monotonic() + DEADLINE_S, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {DEADLINE_S} s"
        pause.wait(0.02)


@pytest.mark.slow
def test_two_ranks_killed_half_way_end_as_if_undisturbed(
    tmp_path: Path, base_dir: Path, packs_dir: Path, store: Tracking
) -> None:
    spec = SPEC.model_copy(update={"steps": 60, "checkpoints": 6})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()

    def start(output: Path) -> subprocess.Popen[bytes]:
        job = write_job(make_job(output, base_dir, packs_dir, store, spec), output / "job.json")
        return subprocess.Popen(train_command(job, output / "log.txt", 2, quiet=True))

    undisturbed = start(whole)
    assert undisturbed.wait(DEADLINE_S) == 0, (whole / "log.txt").read_text()
    disturbed = start(killed)
    until((killed / "checkpoints" / "step-000020").is_dir, "the second checkpoint")
    family = psutil.Process(disturbed.pid).children(recursive=True)
    for process in [psutil.Process(disturbed.pid), *family]:
        process.kill()
    disturbed.wait(DEADLINE_S)
    psutil.wait_procs(family, timeout=DEADLINE_S)
    assert read_result(killed) is None
    again = start(killed)
    assert again.wait(DEADLINE_S) == 0, (killed / "log.txt").read_text()
    assert result(killed)["resumed_from"] is not None
    assert_same_outcome(whole, killed)
    for edge in ("first_loss", "last_loss"):
        assert result(killed)[edge] == pytest.approx(result(whole)[edge], abs=TOLERANCE)
