"""The training program under torchrun, on two ranks: killing it does not change what comes out."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from process_trees import StartProcess, end_tree
from stage_runs import SPEC, assert_same_outcome, make_job, result
from waiting import until

from training_jobs.jobs import Tracking, read_result, write_job
from training_jobs.launch import train_command
from training_jobs.profile import ProgramLimits
from training_jobs.tracking_store import connect

DEADLINE_S = 240.0
LIMITS = ProgramLimits(grace_s=30, stall_s=600)


@pytest.mark.slow
def test_two_ranks_killed_half_way_end_as_if_undisturbed(
    tmp_path: Path,
    base_dir: Path,
    packs_dir: Path,
    tracking: Tracking,
    start_process: StartProcess,
) -> None:
    spec = SPEC.model_copy(update={"steps": 60, "checkpoints": 6})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()

    def start(output: Path) -> subprocess.Popen[bytes]:
        job = write_job(make_job(output, base_dir, packs_dir, tracking, spec), output / "job.json")
        return start_process(train_command(job, output / "log.txt", 2, LIMITS, quiet=True))

    undisturbed = start(whole)
    assert undisturbed.wait(DEADLINE_S) == 0, (whole / "log.txt").read_text()
    disturbed = start(killed)
    until((killed / "checkpoints" / "step-000020").is_dir, "the second checkpoint")
    end_tree(disturbed)
    assert read_result(killed) is None
    again = start(killed)
    assert again.wait(DEADLINE_S) == 0, (killed / "log.txt").read_text()
    assert result(killed)["resumed_from"] is not None
    assert_same_outcome(whole, killed)
    for edge in ("first_loss", "last_loss"):
        assert result(killed)[edge] == result(whole)[edge]


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
