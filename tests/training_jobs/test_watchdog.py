"""Ranks that wait for too long end, and every rank's stack is told."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from process_trees import StartProcess
from robustness.stage_kills import processes
from stage_runs import LIMITS, SPEC, make_job
from waiting import until

from training_jobs.jobs import Tracking, write_job
from training_jobs.launch import train_command
from training_jobs.program_output import last_words
from training_jobs.watchdog import STACKS, Watchdog, expired

DEADLINE_S = 180.0
SOON_S = 3.0  # over long after a rank hangs that began to count as it did, on a machine however busy
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]),
}


def hung(folder: Path, rank: int, limit_s: float) -> list[str]:
    return [sys.executable, "-m", "hung_rank", str(folder), str(rank), str(limit_s)]


def start_hung(start_process: StartProcess, folder: Path, rank: int, limit_s: float) -> subprocess.Popen[Any]:
    rank_process = start_process(hung(folder, rank, limit_s), stdout=subprocess.PIPE, env=ENVIRONMENT)
    assert rank_process.stdout is not None
    assert rank_process.stdout.readline() == b"hangs\n"
    return rank_process


def end(rank: subprocess.Popen[Any]) -> None:
    """Ask it to stop; it has left all of its stack once it has ended."""
    rank.terminate()
    assert rank.wait(DEADLINE_S) == -signal.SIGTERM


def test_the_first_that_is_late_ends_and_the_others_leave_their_stacks_when_asked_to_stop(
    tmp_path: Path, start_process: StartProcess
) -> None:
    since_s = time.time()
    patient, stopped = (start_hung(start_process, tmp_path, rank, 600) for rank in (1, 2))
    late = start_hung(start_process, tmp_path, 0, SOON_S)
    assert late.wait(DEADLINE_S) == 1
    stopped.send_signal(signal.SIGSTOP)
    end(patient)
    why, lines = expired(tmp_path, since_s)
    assert why.startswith("rank 0 waited for longer than allowed; stepping, step 12, since ")
    assert f"limit {SOON_S:g} s" in why
    assert [line.partition(":")[0] for line in lines[:3]] == ["rank 0", "rank 1", "rank 2"]
    # Both wait in the same place, which is told once.
    assert lines.count("stack of ranks 0, 1:") == 1
    assert any("hung_rank.py" in line and "in wait_for_the_others" in line for line in lines)
    assert lines[-2:] == [
        "stack of rank 2:",
        "left no stack: the process did not answer (stopped, or in the kernel)",
    ]
    assert expired(tmp_path, time.time() + 10) == ("", [])  # another run's, by then


def test_a_rank_that_is_asked_to_stop_is_not_told_as_hung(
    tmp_path: Path, start_process: StartProcess
) -> None:
    rank = start_hung(start_process, tmp_path, 0, 600)
    end(rank)
    assert "in wait_for_the_others" in (tmp_path / STACKS / "rank-0.txt").read_text()
    assert expired(tmp_path, 0.0) == ("", [])


def test_the_supervisor_ends_with_the_stacks(tmp_path: Path, start_process: StartProcess) -> None:
    log = tmp_path / "log.txt"
    argv = [sys.executable, "-m", "training_jobs.supervisor", "--quiet", "--log", str(log), "--"]
    supervisor = start_process([*argv, *hung(tmp_path, 0, SOON_S)], env=ENVIRONMENT)
    assert supervisor.wait(DEADLINE_S) == 1
    why, lines = last_words(log, 0)
    assert "the program ended with code 1 after" in why
    assert "rank 0 waited for longer than allowed; stepping, step 12" in why
    assert any("in wait_for_the_others" in line for line in lines)


def test_a_step_may_take_three_times_as_long_as_the_slowest_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("training_jobs.watchdog.time.monotonic", lambda: now[0])
    head = tmp_path / STACKS / "rank-0.txt"
    with Watchdog(tmp_path, 0, 60.0) as watchdog:
        for phase, seconds, limit in [
            ("stepping", 50.0, "60"),
            ("saving", 100.0, "360"),
            ("stepping", 1.0, "150"),
        ]:
            watchdog.phase(phase, 3)
            assert f"{phase}, step 3, since" in head.read_text()
            assert f"limit {limit} s" in head.read_text()
            now[0] += seconds
        watchdog.phase("finishing")
        assert "limit inf s" in head.read_text()


def test_sigterm_still_reaches_the_program(tmp_path: Path) -> None:
    """The stack is written first; then the program's own handler runs, each time."""
    heard: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with Watchdog(tmp_path, 0, 600.0):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert heard == [signal.SIGTERM] * 3
    assert (tmp_path / STACKS / "rank-0.txt").read_text().count("in test_sigterm_still_reaches") == 2


def is_asked_to_stop(process: psutil.Process) -> bool:
    """Whether SIGTERM waits for a suspended process to go on."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (waiting,) = (line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd:"))
    return bool(int(waiting, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.slow
def test_a_stage_whose_rank_is_stopped_ends_with_the_stacks_of_both(
    tmp_path: Path, base_dir: Path, packs_dir: Path, tracking: Tracking, start_process: StartProcess
) -> None:
    # Of a step; its ranks may take six times as long to start, which takes many seconds where others start, too.
    limits = LIMITS.model_copy(update={"collective_s": 15.0})
    spec = SPEC.model_copy(update={"steps": 100_000, "checkpoints": 1})
    job = make_job(tmp_path, base_dir, packs_dir, tracking, spec).model_copy(update={"limits": limits})
    log, stacks = tmp_path / "log.txt", tmp_path / STACKS
    stage = start_process(train_command(write_job(job, tmp_path / "job.json"), log, 2, limits, quiet=True))
    files = [stacks / f"rank-{rank}.txt" for rank in (0, 1)]
    until(
        lambda: all(file.is_file() and file.read_text().startswith("stepping, step 1") for file in files),
        "the first steps",
    )
    rank_1 = processes(stage)["rank 1"]
    started = time.monotonic()
    rank_1.suspend()
    # It goes on only now: before, it could find that rank 0 is gone, and end by that.
    until(lambda: is_asked_to_stop(rank_1), "the end of rank 0's patience")
    rank_1.resume()
    assert stage.wait(DEADLINE_S) == 1
    assert time.monotonic() - started < 10 * limits.collective_s
    why, lines = last_words(log, 0)
    assert re.search(r": ranks? 0", why)  # the other's time may be over by then as well
    assert "waited for longer than allowed; stepping, step" in why
    said = "\n".join(lines)
    assert "rank 0: stepping" in said
    assert "rank 1: stepping" in said
    assert "left no stack" not in said
    assert "in take_step" in said
