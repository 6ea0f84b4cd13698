"""The training program, on one rank in this process: stopping, failing and damage change nothing of what comes out."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from safetensors.torch import load_file
from stage_runs import (
    LENGTH,
    SPEC,
    Lines,
    assert_same_outcome,
    losses,
    make_job,
    result,
    weights,
)

from training_jobs import train
from training_jobs.jobs import Tracking, read_result
from training_jobs.reporting import Reporter
from training_jobs.spec import load_stage
from training_jobs.tracking_store import connect


def stop_at(step: int) -> Callable[[str], None]:
    """Ask this process to stop at the line of a step, which is the one before the last that is taken."""

    def stop(line: str) -> None:
        if f" {step}/12 " in line:
            os.kill(os.getpid(), signal.SIGTERM)

    return stop


def stage_runs_of(tracking: Tracking, stage: str) -> list[Run]:
    """The stage's runs in MLflow."""
    client = connect(tracking)
    experiment = client.get_experiment_by_name("voxline/training")
    assert experiment is not None
    return list(
        client.search_runs([experiment.experiment_id], filter_string=f"attributes.run_name = '{stage}'")
    )


@pytest.mark.usefixtures("one_rank")
def test_a_stage_of_modules_only_leaves_the_backbone_as_it_was_and_resumes(
    tmp_path: Path, base_dir: Path, packs_dir: Path, tracking: Tracking
) -> None:
    """Frozen weights are not in the checkpoints: a resumed run takes them from where the stage started."""
    spec = load_stage("single_mctp", "tiny").model_copy(
        update={"steps": 12, "sequence_length": LENGTH, "checkpoints": 3}
    )
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train.run(make_job(whole, base_dir, packs_dir, tracking, spec), Reporter(Lines().log))
    before, after = load_file(base_dir / "model.safetensors"), weights(whole)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert any(name.startswith("mtp_") for name in after)

    job = make_job(stopped, base_dir, packs_dir, tracking, spec)
    with pytest.raises(SystemExit) as caught:
        train.run(job, Reporter(Lines(at=stop_at(5)).log))
    assert caught.value.code == 128 + signal.SIGTERM
    assert read_result(stopped) is None
    (run_id,) = (
        run.info.run_id for run in stage_runs_of(tracking, "single_mctp") if run.info.status == "KILLED"
    )
    seen: list[str] = []

    def look(line: str) -> None:
        if line.startswith("single_mctp 9/12"):
            seen.append(connect(tracking).get_run(run_id).info.status)

    train.run(job, Reporter(Lines(at=look).log))
    assert seen == ["RUNNING"]
    assert result(stopped)["mlflow_run_id"] == run_id
    assert connect(tracking).get_run(run_id).info.status == "FINISHED"
    assert result(stopped)["resumed_from"] == "step-000006"
    assert_same_outcome(whole, stopped)


@pytest.mark.usefixtures("one_rank")
@pytest.mark.parametrize(
    "part", ["training_jobs.history.History.plot_markdown", "training_jobs.tracking.TrackedRun.flush"]
)
def test_what_fails_at_the_very_end_costs_no_step(
    tmp_path: Path,
    base_dir: Path,
    packs_dir: Path,
    tracking: Tracking,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
) -> None:
    """The checkpoints are there until the result is, and there is no result before MLflow has everything."""

    def fail(*_: object) -> None:
        raise MlflowException("no space left")  # as a busy store does, too: until the end it is waited for

    job = make_job(tmp_path, base_dir, packs_dir, tracking)
    with monkeypatch.context() as patched:
        patched.setattr(part, fail)
        with pytest.raises(MlflowException, match="no space left"):
            train.run(job, Reporter(Lines().log))
    assert read_result(tmp_path) is None
    train.run(job, Reporter(Lines().log))
    assert result(tmp_path)["resumed_from"] == "step-000012"
    assert len(losses(tmp_path)) == SPEC.steps
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.usefixtures("one_rank")
def test_a_checkpoint_is_not_used_when_the_weights_it_started_from_are_others(
    tmp_path: Path, base_dir: Path, packs_dir: Path, tracking: Tracking
) -> None:
    """It holds the trained parameters only; the frozen ones would be another model's. Where they lie is no matter."""

    with pytest.raises(SystemExit):
        train.run(make_job(tmp_path, base_dir, packs_dir, tracking), Reporter(Lines(at=stop_at(4)).log))
    moved = tmp_path / "moved"
    shutil.copytree(base_dir, moved)
    with pytest.raises(SystemExit):
        train.run(
            make_job(tmp_path, moved, packs_dir, tracking), Reporter((lines := Lines(at=stop_at(8))).log)
        )
    assert any("continues from step-000005" in line for line in lines.lines)
    lines = Lines()
    train.run(make_job(tmp_path, moved, packs_dir, tracking, start_digest="other"), Reporter(lines.log))
    assert result(tmp_path)["resumed_from"] is None
    assert any("step-000009 is not used" in line and "start weights" in line for line in lines.lines)


@pytest.mark.usefixtures("one_rank")
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, base_dir: Path, packs_dir: Path, tracking: Tracking
) -> None:
    job = make_job(tmp_path, base_dir, packs_dir, tracking)
    with pytest.raises(SystemExit):
        train.run(job, Reporter(Lines(at=stop_at(7)).log))
    newest = tmp_path / "checkpoints" / "step-000008"
    largest = max(newest.iterdir(), key=lambda path: path.stat().st_size)
    with largest.open("r+b") as stream:
        stream.truncate(largest.stat().st_size // 2)
    lines = Lines()
    train.run(job, Reporter(lines.log))
    assert result(tmp_path)["resumed_from"] == "step-000006"
    assert any("step-000008 is not used" in line and largest.name in line for line in lines.lines)
    assert len(losses(tmp_path)) == SPEC.steps
