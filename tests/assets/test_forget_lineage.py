"""Packs let go of what is forgotten; checkpoints, runs and versions that saw it are known and tagged."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from forgetting import ANN, apply, holds, prepare, table_corpus

from assets.workspace import Workspace
from pipelines.forgetting import opened
from training_jobs.plan import SAMPLES_FILE, SAMPLES_SCHEMA
from training_jobs.version_records import ARTIFACT, PageRecord, page_path, write_record
from validation.forgotten import Selector


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("VOXLINE_LAKE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Workspace(home=str(home))


def test_packs_let_go_of_the_rows_and_checkpoints_that_saw_them_are_known(tmp_path, make, workspace, home):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    profile = home / "training" / "tiny"
    pack, clean = profile / "stage_packs" / "p1", profile / "stage_packs" / "p2"
    rows = lake.read_table("training_rows", "made")
    for directory, wanted in ((pack, rows), (clean, rows.filter(speaker="ben"))):
        directory.mkdir(parents=True)
        samples = wanted.with_row_index("row").with_columns(tokens=pl.lit(9))
        schema = {name: pl.col(name).cast(kind) for name, kind in SAMPLES_SCHEMA.items()}
        samples.select(**schema).write_parquet(directory / SAMPLES_FILE)
        for name in ("input_ids.npy", "plan.json", "log.txt"):
            (directory / name).write_text("audio/zebediah/a1.wav:asr" if directory == pack else "")
        (directory / "result.json").write_text("{}")
    for stage, name, start, packs in (
        ("text_audio_alignment", "s1", profile / "base_model/b/model", pack),
        ("single_mctp", "s2", profile / "text_audio_alignment/s1/model", clean),
        ("single_mctp", "s3", profile / "text_audio_alignment/s0/model", clean),
    ):
        directory = profile / stage / name
        directory.mkdir(parents=True)
        job = {"packs_dir": str(packs), "start_dir": str(start)}
        (directory / "job.json").write_text(json.dumps(job))
        (directory / "result.json").write_text(json.dumps({"mlflow_run_id": f"run-{name}"}))
    saw = ["text_audio_alignment/s1", "single_mctp/s2"]
    with opened(workspace, ANN, with_copies=False) as request:
        (found,) = request.lineage.packs
        assert set(found.names) == {
            f"made/audio/zebediah/{row}.wav:{t}" for row in ("a1", "a2") for t in ("asr", "tts")
        }
        assert [f"{one.stage}/{one.path.name}" for one in request.lineage.checkpoints] == saw
    done = apply(workspace, ANN)
    assert done.outputs == [pack]
    assert holds(profile / "stage_packs", "zebediah") == []
    # Not whole any more, and what else was in it is still known.
    assert not (pack / "result.json").exists() and (clean / "result.json").exists()
    with opened(workspace, Selector("speaker", "ben"), with_copies=False) as request:
        assert [one.path for one in request.lineage.packs] == [pack, clean]
    with opened(workspace, ANN, with_copies=False) as request:
        assert [f"{one.stage}/{one.path.name}" for one in request.lineage.checkpoints] == saw


def test_runs_and_versions_are_tagged_and_none_is_deleted(tmp_path, make, workspace, home):
    from mlflow import MlflowClient

    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    client = MlflowClient(tracking_uri=workspace.tracking_uri, registry_uri=workspace.tracking_uri)
    run = client.create_run(client.create_experiment("voxline/training", str(home / "mlartifacts")))
    client.create_registered_model("vita-audio-mctp")
    version = client.create_model_version("vita-audio-mctp", "s3://nowhere/model", run.info.run_id)
    profile = home / "training" / "tiny"
    for asset, name, job, result in (
        ("sft", "s", {"packs_dir": "stage_packs/p", "start_dir": "x"}, {"mlflow_run_id": run.info.run_id}),
        ("registered_model", "r", {"model_dir": str(profile / "sft/s/model")}, {"version": version.version}),
    ):
        (profile / asset / name).mkdir(parents=True)
        (profile / asset / name / "job.json").write_text(json.dumps(job))
        (profile / asset / name / "result.json").write_text(json.dumps(result))
    pack = profile / "stage_packs" / "p"
    pack.mkdir(parents=True)
    rows = lake.read_table("training_rows", "made").with_columns(row=0, tokens=9)
    schema = {name: pl.col(name).cast(kind) for name, kind in SAMPLES_SCHEMA.items()}
    rows.select(**schema).write_parquet(pack / SAMPLES_FILE)
    done = apply(workspace, ANN)
    assert done.tagged == [f"run {run.info.run_id}", f"version {version.version}"]
    assert client.get_run(run.info.run_id).data.tags["voxline.forgotten"] == ANN.request
    tags = client.get_model_version("vita-audio-mctp", version.version).tags
    assert tags["voxline.forgotten"] == ANN.request


def test_the_page_of_a_version_goes_with_the_rows_that_it_may_play_and_so_does_its_copy_in_mlflow(
    tmp_path, make, workspace, home
):
    from mlflow import MlflowClient

    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    client = MlflowClient(tracking_uri=workspace.tracking_uri, registry_uri=workspace.tracking_uri)
    run_id = client.create_run(
        client.create_experiment("voxline/evaluation", str(home / "mlartifacts"))
    ).info.run_id
    client.log_text(run_id, "<audio>", ARTIFACT)
    rows = lake.read_table("training_rows", "made").select("corpus", "row_id", "speaker")
    for number, name, speaker in (("1", "e1", ANN.value), ("2", "e2", "ben")):
        directory = home / "training" / "tiny" / "evaluation_report" / name
        directory.mkdir(parents=True)
        rows.filter(speaker=speaker).write_parquet(directory / "rows.parquet")
        (directory / "result.json").write_text("{}")
        write_record(home, PageRecord(number, run_id if number == "1" else None, "tiny", name))
        page_path(home, number).write_text("<audio>")
    with opened(workspace, ANN, with_copies=False) as request:
        assert [page.version for page in request.pages] == ["1"]
    done = apply(workspace, ANN)
    assert page_path(home, "1") in done.outputs
    assert not page_path(home, "1").exists() and page_path(home, "2").exists()
    assert client.list_artifacts(run_id) == []
