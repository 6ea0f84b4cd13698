"""The training program under torchrun, on two ranks: asked to stop, all save the same step."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from process_trees import StartProcess
from stage_runs import LIMITS, SPEC, make_job
from waiting import until

from training_jobs.jobs import Tracking, write_job
from training_jobs.launch import train_command
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
