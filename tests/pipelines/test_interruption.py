"""A run that is interrupted or killed leaves no process behind, and goes on where it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import psutil
import pytest
from waiting import until

from training_jobs.jobs import Tracking
from training_jobs.tracking_store import connect

if TYPE_CHECKING:
    from conftest import Pipeline

pytestmark = pytest.mark.slow
_DEADLINE_S = 240.0
STAGE = "training/debug/sft"  # its second half takes seconds: time to be hit in


def processes_of(home: Path) -> list[psutil.Process]:
    """Programs that work in this home: their job file's path is on their command line."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if any(str(home) in part for part in command) and process.pid != os.getpid():
            found.append(process)
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow store, whose tables take seconds to make."""
    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connect(Tracking(uri=f"sqlite:///{database}", artifact_root="", tags={}))
    return database


@pytest.fixture
def home(pipeline: Pipeline, store: Path, tmp_path: Path) -> Path:
    """A home in which all has been made but ``STAGE``; what is made from the same model again, is not stale."""
    home = tmp_path / "home"
    # MLflow's store stays behind: it says by whole paths where its artifacts lie.
    with pipeline.alone():
        shutil.copytree(pipeline.home, home, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts"))
    shutil.copy(store, home)
    shutil.rmtree(home / STAGE)
    return home


def stop_in_training(pipeline: Pipeline, home: Path, number: signal.Signals) -> list[str]:
    """Start a run, signal it once ``STAGE`` has a checkpoint, wait for its programs' end; its command."""
    command = [sys.executable, "-m", "pipelines.cli", "run", "--corpora", str(pipeline.corpora)]
    command += ["--profile", "debug", "--home", str(home)]
    log = home.with_name("first.log")
    with log.open("wb") as stream:
        # A group of its own, so that the signal goes to this process only, as from a task manager.
        child = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True)
        checkpoints = f"{STAGE}/*/checkpoints/step-*"
        try:
            until(
                lambda: child.poll() is not None or any(home.glob(checkpoints)),
                "a first checkpoint",
                _DEADLINE_S,
            )
            assert child.poll() is None, log.read_text()
            assert len(processes_of(home)) >= 3  # the run, its supervisor, torchrun and its ranks
            os.kill(child.pid, number)
            assert child.wait(timeout=_DEADLINE_S) != 0
        finally:
            child.kill()
    until(lambda: not processes_of(home), "the programs to end", _DEADLINE_S)
    return command


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_running_and_is_marked_failed(
    pipeline: Pipeline, home: Path, number: signal.Signals
) -> None:
    stop_in_training(pipeline, home, number)
    assert processes_of(home) == []
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (run,) = instance.get_runs(limit=1)
        assert run.status == dg.DagsterRunStatus.FAILURE
        assert instance.event_log_storage.get_concurrency_run_ids() == set()


def test_a_killed_run_leaves_nothing_running_and_the_next_one_goes_on(pipeline: Pipeline, home: Path) -> None:
    again = subprocess.run(
        stop_in_training(pipeline, home, signal.SIGKILL), capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, f"{again.stdout}\n{again.stderr}"
    assert "was killed before it ended" in again.stdout
    result = json.loads(next(home.glob(f"{STAGE}/*/result.json")).read_text(encoding="utf-8"))
    assert result["resumed_from"], "the stage began anew instead of from its checkpoint"
    undisturbed = next(pipeline.home.glob(f"{STAGE}/*/result.json"))
    expected = json.loads(undisturbed.read_text(encoding="utf-8"))
    assert result["model_digest"] == expected["model_digest"]
