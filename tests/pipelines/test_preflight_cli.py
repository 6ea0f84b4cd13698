"""``voxline preflight`` prints what the program reckons, and ends with 2 where something does not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assets.outputs import Outputs
from assets.workspace import Workspace
from pipelines.cli import app
from pipelines.preflight_cli import measured_stages
from training_jobs.jobs import write_result
from validation.errors import ConfigurationError

runner = CliRunner()


@pytest.fixture(autouse=True)
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXLINE_BASE_MODEL", raising=False)


def test_a_profile_that_fits_is_given_to_programs_as_json(tmp_path: Path) -> None:
    arguments = ["preflight", "--profile", "tiny", "--json", "--tokens-per-second", "1000"]
    done = runner.invoke(app, [*arguments, "--home", str(tmp_path)])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["profile"] == "tiny"
    first = found["stages"][0]
    assert first["hours"] == pytest.approx(400 * 2 * 1024 / 1000 / 3600)


def test_what_does_not_fit_is_shown_ends_with_two_and_says_what_to_change(tmp_path: Path) -> None:
    arguments = ["preflight", "--profile", "7b", "--gpus", "8", "--gpu-memory-gib", "40"]
    shown = runner.invoke(app, [*arguments, "--home", str(tmp_path)])
    assert shown.exit_code == 2
    for word in ("weights", "gradients", "optimizer", "activations", "logits", "not measured", "sft"):
        assert word in shown.stdout
    assert "10,317,912,576" in shown.stdout
    assert shown.stderr.count("does not fit") == shown.stderr.count("on 8 ranks: ") + shown.stderr.count(
        "fit: disk: "
    )
    assert "It fits with" in shown.stderr


def test_an_unknown_profile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--profile is '70b'; it may be tiny or"):
        runner.invoke(app, ["preflight", "--profile", "70b", "--home", str(tmp_path)], catch_exceptions=False)


def test_a_homes_own_stages_say_how_fast_they_were(tmp_path: Path) -> None:
    workspace = Workspace(home=str(tmp_path), profile_name="tiny")
    outputs = Outputs(workspace.training_dir)
    directory = outputs.directory("sft", "5" * 64)
    directory.mkdir(parents=True)
    write_result(directory, {"tokens_per_s": 321.5, "world_size": 2, "device": "CPU"})
    outputs.publish("sft", "5" * 64)
    (one,) = measured_stages(workspace)
    assert (one.stage, one.tokens_per_second, one.ranks, one.device) == ("sft", 321.5, 2, "CPU")
    asked = ["preflight", "--profile", "tiny", "--home", str(tmp_path)]
    gpus = runner.invoke(app, [*asked, "--gpus", "3"])
    assert "this home's stages ran on CPU, which does not tell it" in gpus.stdout
    assert "idle: the rows of a step are dealt out to 1 or 2 ranks (text_audio_alignment" in gpus.stdout
    assert "0.00 e9" not in gpus.stdout and "GiB per rank" in gpus.stdout
