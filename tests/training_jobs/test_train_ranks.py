"""The training program under torchrun, on two ranks: killing it does not change what comes out."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from stage_runs import SPEC, assert_same_outcome, make_job, result
from waiting import until

from training_jobs.jobs import Tracking, read_result, write_job
from training_jobs.launch import train_command

DEADLINE_S = 240.0


def end_family(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a process and all it has started."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.kill()
    process.wait(DEADLINE_S)
    psutil.wait_procs(family, timeout=DEADLINE_S)


@pytest.fixture
def launched() -> Iterator[Callable[[list[str]], subprocess.Popen[bytes]]]:
    """Starts commands whose processes do not outlive the test."""
    started: list[subprocess.Popen[bytes]] = []

    def launch(command: list[str]) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(command))
        return started[-1]

    yield launch
    for process in started:
        if process.poll() is None:
            end_family(process)


@pytest.mark.slow
def test_two_ranks_killed_half_way_end_as_if_undisturbed(
    tmp_path: Path,
    base_dir: Path,
    packs_dir: Path,
    tracking: Tracking,
    launched: Callable[[list[str]], subprocess.Popen[bytes]],
) -> None:
    spec = SPEC.model_copy(update={"steps": 60, "checkpoints": 6})
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()

    def start(output: Path) -> subprocess.Popen[bytes]:
        job = write_job(make_job(output, base_dir, packs_dir, tracking, spec), output / "job.json")
        return launched(train_command(job, output / "log.txt", 2, quiet=True))

    undisturbed = start(whole)
    assert undisturbed.wait(DEADLINE_S) == 0, (whole / "log.txt").read_text()
    disturbed = start(killed)
    until((killed / "checkpoints" / "step-000020").is_dir, "the second checkpoint")
    end_family(disturbed)
    assert read_result(killed) is None
    again = start(killed)
    assert again.wait(DEADLINE_S) == 0, (killed / "log.txt").read_text()
    assert result(killed)["resumed_from"] is not None
    assert_same_outcome(whole, killed)
    for edge in ("first_loss", "last_loss"):
        assert result(killed)[edge] == result(whole)[edge]
