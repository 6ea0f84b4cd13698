"""Command lines that assets start, and what finding them imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from training_jobs import launch
from training_jobs.profile import ProgramLimits

JOB, LOG = Path("job.json"), Path("log.txt")
LIMITS = ProgramLimits(grace_s=45, stall_s=1800, collective_s=120)


def test_a_program_runs_under_the_supervisor() -> None:
    command = launch.program_command("pack", JOB, LOG, LIMITS)
    assert command[:3] == [sys.executable, "-m", "training_jobs.supervisor"]
    options, program = command[3 : command.index("--")], command[command.index("--") + 1 :]
    assert options == ["--log", "log.txt", "--grace", "45", "--stall", "1800"]
    assert program == [sys.executable, "-m", "training_jobs.pack", "job.json"]


@pytest.mark.parametrize(
    ("processes", "gpus", "ranks"), [("auto", 0, "2"), ("auto", 4, "4"), (1, 4, "1"), (3, 0, "3")]
)
def test_a_stage_has_one_rank_per_gpu_and_two_without(
    monkeypatch: pytest.MonkeyPatch, processes: object, gpus: int, ranks: str
) -> None:
    monkeypatch.setattr(launch, "gpu_count", lambda: gpus)
    command = launch.train_command(JOB, LOG, processes, LIMITS)  # type: ignore[arg-type]  # parametrised over the union
    assert command[command.index("--nproc-per-node") + 1] == ranks
    assert command[command.index("--shutdown-timeout") + 1] == "45"
    assert command[-3:] == ["--module", "training_jobs.train", "job.json"]


@pytest.mark.parametrize(
    ("value", "count"), [("0,1,2", 3), ("", 0), ("-1", 0), ("0,-1,1", 1), ("GPU-a,GPU-b", 2)]
)
def test_visible_devices_count_as_cuda_counts_them(
    monkeypatch: pytest.MonkeyPatch, value: str, count: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert launch.gpu_count() == count


def test_finding_a_command_imports_no_torch() -> None:
    """Assets import these modules, and the code location must load in seconds."""
    modules = "training_jobs.launch, training_jobs.jobs, training_jobs.profile, training_jobs"
    code = f"import sys, {modules}; print([m for m in ('torch', 'transformers', 'deepspeed') if m in sys.modules])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert answer.stdout == "[]\n"
