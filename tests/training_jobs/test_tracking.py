"""MLflow runs are tagged, complete and always ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.data import get_source
from process_trees import StartProcess
from pydantic import ValidationError

from training_jobs.jobs import Tracking
from training_jobs.tracked_data import drawn_dataset
from training_jobs.tracking import TrackedRun, tracked_run
from training_jobs.tracking_store import EXPERIMENTS, connect
from validation.strict import explain

# MLflow is imported once for the three of them: it takes seconds, and is not what they vie for.
_PREPARE = """
import os, sys
from pathlib import Path
from training_jobs.jobs import Tracking
from training_jobs.tracking_store import prepare_store, quiet_mlflow
quiet_mlflow()
from mlflow.store.tracking import sqlalchemy_store
started = []
for _ in range(3):
    process = os.fork()
    if process == 0:
        prepare_store(Tracking.model_validate_json(Path(sys.argv[1]).read_bytes()))
        sys.exit()
    started.append(process)
sys.exit(any([os.waitpid(process, 0)[1] for process in started]))
"""

_WAIT_IN_A_RUN = """
import signal, sys
from pathlib import Path
from training_jobs.jobs import Tracking
from training_jobs.tracking import tracked_run
tracking = Tracking.model_validate_json(Path(sys.argv[1]).read_bytes())
with tracked_run(tracking, "voxline/training", "sft", {"steps": 3}, resume_key="sft-1") as run:
    run.metric("loss", 4.0, 1)
    print(run.run_id, flush=True)
    while True:
        signal.sigtimedwait([], 0.1)
"""


def _status(tracking: Tracking, run: TrackedRun) -> str:
    return str(connect(tracking).get_run(run.run_id).info.status)


def test_metrics_params_tags_and_artifacts_arrive(tracking: Tracking) -> None:
    with tracked_run(tracking, "voxline/training", "stage", {"steps": 2}) as run:
        for step in range(1, 2503):
            run.metrics({"loss": 1.0 / step, "tokens_per_second": 10.0}, step)
        run.text("| a |", "table.md")
    client = connect(tracking)
    stored = client.get_run(run.run_id)
    assert stored.info.status == "FINISHED"
    assert stored.data.params == {"steps": "2"}
    assert stored.data.tags["profile"] == "tiny"
    assert len(client.get_metric_history(run.run_id, "loss")) == 2502
    assert stored.data.metrics["tokens_per_second"] == 10.0
    assert [entry.path for entry in client.list_artifacts(run.run_id)] == ["table.md"]
    assert Path(tracking.artifact_root, "voxline-training", run.run_id, "artifacts", "table.md").is_file()


def test_an_error_ends_the_run_as_failed_and_keeps_its_metrics(tracking: Tracking) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        tracked_run(tracking, "voxline/training", "stage", {}) as run,
    ):
        run.metric("loss", 2.5, 7)
        raise ZeroDivisionError
    assert _status(tracking, run) == "FAILED"
    assert connect(tracking).get_run(run.run_id).data.metrics == {"loss": 2.5}


def test_an_unfinished_run_with_the_same_key_and_settings_is_continued(tracking: Tracking) -> None:
    def work(steps: int, fails: bool) -> TrackedRun:
        with tracked_run(tracking, "voxline/training", "stage", {"steps": steps}, resume_key="k") as run:
            run.metric("loss", 1.0, steps)
            if fails:
                raise RuntimeError
        return run

    for _ in range(2):
        with pytest.raises(RuntimeError):
            work(5, fails=True)
    client = connect(tracking)
    experiment = client.get_experiment_by_name("voxline/training")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], filter_string="tags.`voxline.resume_key` = 'k'")
    assert len(runs) == 1
    other = work(6, fails=False)
    assert not other.resumed
    last = work(5, fails=False)
    assert last.resumed
    assert last.run_id == runs[0].info.run_id
    assert not work(5, fails=False).resumed  # finished work is not reopened


@pytest.mark.parametrize(
    ("uri", "instead"),
    [
        ("https://ann:geheim@mlflow.example.org", "$MLFLOW_TRACKING_USERNAME and $MLFLOW_TRACKING_PASSWORD"),
        ("https://geheim@mlflow.example.org", "$MLFLOW_TRACKING_USERNAME and $MLFLOW_TRACKING_PASSWORD"),
        ("postgresql://ann:geheim@db.example.org/mlflow", "the database driver's own configuration"),
    ],
)
def test_a_uri_with_a_secret_is_refused_without_repeating_it(uri: str, instead: str) -> None:
    """It would be written to every job file."""
    with pytest.raises(ValidationError) as caught:
        Tracking(uri=uri, artifact_root="artifacts", tags={})
    said = str(caught.value)
    assert instead in said
    assert "geheim" not in said and "geheim" not in explain(caught.value)


@pytest.mark.parametrize(
    "uri", ["sqlite:///home/mlflow.db", "http://127.0.0.1:5000", "postgresql://ann@db.example.org/mlflow"]
)
def test_a_uri_without_a_secret_is_taken(uri: str) -> None:
    assert Tracking(uri=uri, artifact_root="artifacts", tags={}).uri == uri


def test_a_deleted_experiment_comes_back(tracking: Tracking) -> None:
    client = connect(tracking)
    experiment = client.get_experiment_by_name("voxline/latency")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    with tracked_run(tracking, "voxline/latency", "latency", {}) as run:
        pass
    assert _status(tracking, run) == "FINISHED"


def test_a_terminated_process_leaves_its_run_killed_and_the_next_one_continues_it(
    tracking: Tracking, tmp_path: Path, start_process: StartProcess
) -> None:
    told = tmp_path / "tracking.json"
    told.write_text(tracking.model_dump_json())
    command = [sys.executable, "-c", _WAIT_IN_A_RUN, str(told)]
    process = start_process(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 143
    stored = connect(tracking).get_run(run_id)
    assert stored.info.status == "KILLED"
    assert stored.data.metrics == {"loss": 4.0}
    with tracked_run(tracking, "voxline/training", "sft", {"steps": 3}, resume_key="sft-1") as run:
        assert run.run_id == run_id


@pytest.mark.slow
def test_processes_that_make_the_store_at_the_same_time_agree(
    tmp_path: Path, start_process: StartProcess
) -> None:
    tracking = Tracking(
        uri=f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}", artifact_root=str(tmp_path / "artifacts"), tags={}
    )
    told = tmp_path / "tracking.json"
    told.write_text(tracking.model_dump_json())
    assert start_process([sys.executable, "-c", _PREPARE, str(told)]).wait(300) == 0
    names = [experiment.name for experiment in connect(tracking).search_experiments()]
    assert sorted(names) == sorted([*EXPERIMENTS, "Default"])


def test_a_pack_is_a_dataset_of_the_run_with_what_each_source_gave(
    tracking: Tracking, tmp_path: Path
) -> None:
    """Told again by a run that goes on, it is still one; another pack of the same data is another."""
    sources = {
        "digits/asr": {"rows": 9, "drawn": 6, "samples": 12, "tokens": 300, "hours": 0.25},
        "digits/tts": {"rows": 9, "drawn": 9, "samples": 9, "tokens": 100, "hours": 0.5},
    }
    plan = {"data_digest": "d" * 64, "sources": sources}
    packs = [tmp_path / "one", tmp_path / "two"]
    with tracked_run(tracking, "voxline/training", "data", {}) as run:
        for place in (*packs, packs[0]):
            run.dataset(drawn_dataset("pretraining", place, plan))
    found = connect(tracking).get_run(run.run_id).inputs.dataset_inputs
    assert sorted(one.dataset.name for one in found) == ["pretraining-one", "pretraining-two"]
    one = next(one for one in found if one.dataset.name == "pretraining-one")
    assert one.dataset.digest == "d" * 36
    assert {tag.key: tag.value for tag in one.tags} == {
        "mlflow.data.context": "training", "rows": "15", "samples": "21", "tokens": "400", "hours": "0.75",
    }  # fmt: skip
    counts = json.loads(one.dataset.profile)
    assert counts["data_digest"] == "d" * 64
    assert counts["sources"]["digits/asr"] == {
        "rows": 6, "samples": 12, "tokens": 300, "hours": 0.25, "share": 0.75,
    }  # fmt: skip
    source = get_source(one.dataset)
    assert Path(source.uri) == packs[0]
