"""The training program under torchrun: all ranks stop at the same step, and their number changes nothing."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from forked_ranks import run_forking
from ports import free_port
from process_trees import StartProcess
from stage_runs import (
    LIMITS,
    RANK_VARIABLES,
    SPEC,
    Lines,
    losses,
    make_job,
    result,
    weights,
)
from waiting import until

from training_jobs import train
from training_jobs.jobs import Tracking, TrainJob, read_job, write_job
from training_jobs.launch import train_command
from training_jobs.reporting import Reporter
from training_jobs.tracking_store import connect

DEADLINE_S = 240.0


@pytest.mark.slow
def test_two_ranks_asked_to_stop_save_the_same_step_and_their_run_is_killed(
    tmp_path: Path,
    base_dir: Path,
    packs_dir: Path,
    tracking: Tracking,
    start_process: StartProcess,
) -> None:
    spec = SPEC.model_copy(update={"steps": 100_000, "checkpoints": 1})
    job = write_job(make_job(tmp_path, base_dir, packs_dir, tracking, spec), tmp_path / "job.json")
    log = tmp_path / "log.txt"
    stage = start_process(train_command(job, log, 2, LIMITS, quiet=True))
    until(
        lambda: log.is_file() and "loss over the probe's rows after 0 steps" in log.read_text(),
        "the first step",
    )
    stage.send_signal(signal.SIGTERM)
    assert stage.wait(DEADLINE_S) != 0
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    assert (
        f"asked to stop; saved after step {int(checkpoint.name.removeprefix('step-'))} of" in log.read_text()
    )
    client = connect(tracking)
    experiment = client.get_experiment_by_name("voxline/training")
    assert experiment is not None
    (run,) = (
        run for run in client.search_runs([experiment.experiment_id]) if run.data.params["steps"] == "100000"
    )
    assert run.info.status == "KILLED"


@pytest.mark.slow
def test_two_and_four_ranks_and_two_launchers_come_to_the_losses_and_weights_of_one(
    tmp_path: Path,
    base_dir: Path,
    packs_dir: Path,
    tracking: Tracking,
    start_process: StartProcess,
    one_rank: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each step has the same rows; ZeRO 3 on the four, and the launchers meet as those of two machines do."""
    spec = SPEC.model_copy(update={"steps": 6, "batch_rows": 8, "checkpoints": 1})

    def job_of(output: Path, **changes: object) -> Path:
        output.mkdir()
        own = spec.model_copy(update=changes)
        return write_job(make_job(output, base_dir, packs_dir, tracking, own), output / "job.json")

    one, two, four = tmp_path / "one", tmp_path / "two", tmp_path / "four"
    train.run(read_job(TrainJob, job_of(one)), Reporter(Lines().log))
    for name in RANK_VARIABLES:
        monkeypatch.delenv(name)
    jobs = {two: job_of(two), four: job_of(four, zero_stage=3)}
    monkeypatch.setenv("VOXLINE_NNODES", "2")
    monkeypatch.setenv("VOXLINE_RDZV_ENDPOINT", f"127.0.0.1:{free_port()}")
    launchers = [
        start_process(train_command(jobs[two], two / f"log-{number}.txt", 1, LIMITS, quiet=True))
        for number in range(2)
    ]
    assert [launcher.wait(DEADLINE_S) for launcher in launchers] == [0, 0], (two / "log-0.txt").read_text()
    monkeypatch.delenv("VOXLINE_NNODES")
    run_forking("forked_ranks", "4", str(jobs[four]), deadline_s=DEADLINE_S)
    for other, ranks in ((two, 2), (four, 4)):
        assert (result(other)["world_size"], len(result(other)["peak_bytes"])) == (ranks, ranks)
        assert losses(other) == pytest.approx(losses(one), abs=1e-5)
        assert result(other)["first_loss"] == pytest.approx(result(one)["first_loss"], abs=1e-5)
        torch.testing.assert_close(weights(other), weights(one), rtol=0, atol=1e-5)
