"""A changed hyper-parameter makes its stage and those after it stale; how a stage is run makes nothing stale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets import stages
from assets.outputs import Outputs
from assets.workspace import Workspace
from training_jobs.jobs import Tracking, TrainJob, read_job, write_result
from training_jobs.spec import STAGES, Stage, StageSpec, load_stage

BEFORE = ("base_model", "speech_tokenizer", *(f"stage_packs.{stage}" for stage in STAGES))


class InstantPipes:
    """Stands for the programs: each job is done at once."""

    def run(self, context: dg.AssetExecutionContext, command: list[str]) -> None:
        job = read_job(TrainJob, Path(command[-1]))
        write_result(job.output_dir, {"model_digest": "m", "first_loss": 2.0, "last_loss": 1.0})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which all that the stages start from has been made."""
    monkeypatch.setattr(stages, "rows_digest", lambda *_: "r")
    monkeypatch.setattr(Workspace, "corpus_names", ["c"])
    tracking = Tracking(uri="sqlite:///m.db", artifact_root="a", tags={})
    monkeypatch.setattr(Workspace, "tracking", lambda *_: tracking)
    outputs = Outputs(Workspace(home=str(tmp_path), profile_name="debug").training_dir)
    for asset in BEFORE:
        directory = outputs.directory(asset, "0" * 64)
        directory.mkdir(parents=True)
        write_result(directory, {"model_digest": "b", "tokenizer_digest": "t"})
        outputs.publish(asset, "0" * 64)
    return tmp_path


def made(
    home: Path, monkeypatch: pytest.MonkeyPatch, changed: Stage | None = None, **changes: Any
) -> set[str]:
    """The stages that are trained when all are asked for."""

    def stage(_: Workspace, name: Stage) -> StageSpec:
        spec = load_stage(name, "debug")
        return spec.model_copy(update=changes) if name == changed else spec

    with monkeypatch.context() as patched:
        patched.setattr(Workspace, "stage", stage)
        result = dg.materialize(
            stages.build_all(),
            resources={
                "workspace": Workspace(home=str(home), profile_name="debug", quiet_programs=True),
                "pipes": InstantPipes(),
            },
        )
    metadata = {
        event.asset_key: event.materialization.metadata for event in result.get_asset_materialization_events()
    }
    return {key.to_user_string() for key, values in metadata.items() if values["recomputed"].value}


def test_a_stage_is_trained_again_exactly_where_something_that_decides_has_changed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made(home, monkeypatch) == set(STAGES)
    assert made(home, monkeypatch) == set()
    assert made(home, monkeypatch, "text_audio_alignment", zero_stage=3, processes=1, explosion=None) == set()
    assert made(home, monkeypatch, "sft", clip=2.0) == {"sft"}
    assert made(home, monkeypatch, "single_mctp", clip=2.0) == {"single_mctp", "multi_mctp", "sft"}
