"""Killed anywhere, or out of room, a stage goes on from its last checkpoint and ends as if undisturbed, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forked_ranks import run_forking
from process_trees import StartProcess
from robustness.disk import PRIVATE, can_mount
from robustness.stage_kills import VICTIMS, kill, newest
from stage_runs import LIMITS, SPEC, assert_same_outcome, make_job, result
from waiting import until

from training_jobs.jobs import Tracking, read_result, write_job
from training_jobs.launch import train_command

pytestmark = pytest.mark.slow
DEADLINE_S = 240.0
TESTS = Path(__file__).parents[1]
LONG = SPEC.model_copy(update={"steps": 120, "checkpoints": 40})

Start = Callable[[Path], subprocess.Popen[Any]]


@pytest.fixture
def start(base_dir: Path, packs_dir: Path, tracking: Tracking, start_process: StartProcess) -> Start:
    """Starts the stage on two ranks in a directory, or goes on with it."""

    def start_in(output: Path) -> subprocess.Popen[Any]:
        output.mkdir(exist_ok=True)
        job = write_job(make_job(output, base_dir, packs_dir, tracking, LONG), output / "job.json")
        return start_process(train_command(job, output / "log.txt", 2, LIMITS, quiet=True))

    return start_in


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, base_dir: Path, packs_dir: Path, tracking: Tracking
) -> Path:
    """The undisturbed stage."""
    output = tmp_path_factory.mktemp("whole")
    job = write_job(make_job(output, base_dir, packs_dir, tracking, LONG), output / "job.json")
    run_forking("forked_ranks", "2", str(job), deadline_s=DEADLINE_S)
    return output


def test_a_rank_torchrun_the_supervisor_and_everything_killed_one_after_the_other(
    tmp_path: Path, start: Start, whole: Path
) -> None:
    killed = tmp_path / "killed"
    for victim in VICTIMS:
        reached = newest(killed)
        stage = start(killed)
        until(lambda: newest(killed) > reached + 6 or stage.poll() is not None, f"progress of {killed}")  # noqa: B023
        assert kill(stage, victim, killed) != 0
        assert read_result(killed) is None, f"the stage had ended before {victim} was killed"
    assert start(killed).wait(DEADLINE_S) == 0, (killed / "log.txt").read_text()
    # The last lines before a failure stand in the log twice, with the same time.
    said = set((killed / "log.txt").read_text().splitlines())
    assert sum("continues from step-" in line for line in said) == len(VICTIMS)
    assert sum("loss over the probe's rows after 0 steps" in line for line in said) == 1
    assert_same_outcome(whole, killed)
    for edge in ("first_loss", "last_loss"):
        assert result(killed)[edge] == result(whole)[edge]


def test_a_full_disk_ends_the_stage_with_its_path_and_room_lets_it_go_on(
    tmp_path: Path, whole: Path, base_dir: Path, packs_dir: Path, tracking: Tracking
) -> None:
    if not can_mount():
        pytest.skip("this system lets nobody mount a small tmpfs")
    disk, kept = tmp_path / "disk", tmp_path / "kept"
    kept.mkdir()
    job = write_job(make_job(disk / "stage", base_dir, packs_dir, tracking, LONG), tmp_path / "job.json")
    done = subprocess.run(
        [*PRIVATE, sys.executable, "-m", "robustness.full_stage", str(job), str(disk), str(kept)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)])},
        capture_output=True,
        timeout=2 * DEADLINE_S,
        check=False,
    )
    said = (kept / "said.txt").read_text()
    assert done.returncode == 0, done.stderr.decode() + said
    assert "could not be saved: " in said
    assert "No space left on device" in said
    assert "2 checkpoints in a row could not be written" in said
    assert str(disk / "stage" / "checkpoints" / "step-") in said
    assert "continues from step-" in said
    assert_same_outcome(whole, kept / "output")
