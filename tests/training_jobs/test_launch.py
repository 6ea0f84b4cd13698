"""Command lines that assets start, and what finding them imports."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from stage_runs import LIMITS as STAGE_LIMITS
from stage_runs import make_job

from training_jobs import launch
from training_jobs.jobs import Tracking, write_job
from training_jobs.profile import ProgramLimits
from training_jobs.spec import load_stage
from validation.errors import ConfigurationError

JOB, LOG = Path("job.json"), Path("log.txt")
LIMITS = ProgramLimits(grace_s=45, stall_s=1800, collective_s=120)


def test_a_program_runs_under_the_supervisor() -> None:
    command = launch.program_command("pack", JOB, LOG, LIMITS)
    assert command[:3] == [sys.executable, "-m", "training_jobs.supervisor"]
    options, program = command[3 : command.index("--")], command[command.index("--") + 1 :]
    assert options == ["--log", "log.txt", "--grace", "45", "--stall", "1800"]
    assert program == [sys.executable, "-m", "training_jobs.pack", "job.json"]


def test_a_stage_runs_under_torchrun_with_the_profiles_patience() -> None:
    command = launch.train_command(JOB, LOG, 4, LIMITS)
    assert command[command.index("--nproc-per-node") + 1] == "4"
    assert command[command.index("--shutdown-timeout") + 1] == "45"
    assert "--standalone" in command
    assert command[-3:] == ["--module", "training_jobs.train", "job.json"]


@pytest.mark.parametrize(
    ("processes", "gpus", "nodes", "ranks"),
    [("auto", 0, 1, 2), ("auto", 4, 1, 4), ("auto", 7, 1, 6), ("auto", 8, 4, 6), (1, 4, 1, 1), (3, 0, 1, 3)],
)
def test_a_stage_has_one_rank_per_gpu_as_far_as_its_rows_can_be_dealt_out(
    monkeypatch: pytest.MonkeyPatch, processes: object, gpus: int, nodes: int, ranks: int
) -> None:
    monkeypatch.setattr(launch, "gpu_count", lambda: gpus)
    monkeypatch.setenv("VOXLINE_NNODES", str(nodes))
    monkeypatch.setenv("VOXLINE_RDZV_ENDPOINT", "first:29400")
    spec = load_stage("sft", "7b").model_copy(update={"processes": processes, "batch_rows": 24})
    assert launch.ranks_per_node(spec) == ranks


@pytest.mark.parametrize(
    ("processes", "nodes", "said"), [(5, 1, "to 5 ranks"), (3, 5, "to 15 ranks"), ("auto", 5, "to 10 ranks")]
)
def test_a_number_of_ranks_that_a_steps_rows_cannot_be_dealt_out_to_is_refused(
    monkeypatch: pytest.MonkeyPatch, processes: object, nodes: int, said: str
) -> None:
    monkeypatch.setattr(launch, "gpu_count", lambda: 2)
    monkeypatch.setenv("VOXLINE_NNODES", str(nodes))
    monkeypatch.setenv("VOXLINE_RDZV_ENDPOINT", "first:29400")
    spec = load_stage("sft", "7b").model_copy(update={"processes": processes, "batch_rows": 24})
    with pytest.raises(ConfigurationError, match=f"sft: batch_rows 24 .* {said}; possible are"):
        launch.ranks_per_node(spec)


def test_another_machine_becomes_the_same_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXLINE_NNODES", "2")
    monkeypatch.setenv("VOXLINE_RDZV_ENDPOINT", "first:29400")
    monkeypatch.setenv("VOXLINE_NODE_RANK", "1")
    tracking = Tracking(uri="sqlite:///m.db", artifact_root="a", tags={})
    job = write_job(make_job(tmp_path, tmp_path, tmp_path, tracking), tmp_path / "job.json")
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda program, words: started.append([program, *words[1:]]))
    launch.main([str(job)])
    (command,) = started
    log = tmp_path / f"log-{socket.gethostname()}.txt"
    assert command == launch.train_command(job, log, 1, STAGE_LIMITS)
    assert command[command.index("--node-rank") + 1] == "1"
    with pytest.raises(SystemExit, match=r"FileNotFoundError.*absent\.json"):
        launch.main([str(tmp_path / "absent.json")])


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
