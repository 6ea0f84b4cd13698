"""``voxline augment render``: the audio of a row or of its variant, as a file to listen to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import yaml
from augmented_lake import RATE_HZ, RECIPE, SPEECH, STREET, make_lake
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.settings import Settings, write_settings
from training_jobs.augmented_audio import UnknownRowError, render
from validation.augmentation.table import augment
from validation.lake import Lake


@pytest.fixture
def home(tmp_path: Path) -> Path:
    lake = make_lake(tmp_path / "home" / "lake", train=3)
    augment(SPEECH, RECIPE, lake)
    common = {"root": str(tmp_path), "licence": "CC0-1.0", "language": "en"}
    corpora = [
        {"name": SPEECH, "reader": "librispeech", **common},
        {"name": STREET, "reader": "untranscribed", "options": {"purpose": "noise"}, **common},
    ]
    (tmp_path / "corpora.yaml").write_text(yaml.safe_dump({"corpora": corpora}), encoding="utf-8")
    write_settings(tmp_path / "home", Settings(corpora=str(tmp_path / "corpora.yaml"), profile="debug"))
    return tmp_path / "home"


def test_a_variant_is_written_and_what_it_went_through_is_said(home: Path, tmp_path: Path) -> None:
    lake = Lake(str(home / "lake"))
    variant = lake.read_table("augmentations", SPEECH).row(0, named=True)
    output = tmp_path / "heard" / "variant.wav"
    done = CliRunner().invoke(
        app, ["augment", "render", "--row", variant["row_id"], "--output", str(output), "--home", str(home)]
    )
    assert done.exit_code == 0, done.output
    samples, rate_hz = soundfile.read(output, dtype="float32")
    assert rate_hz == RATE_HZ
    assert samples == pytest.approx(render(lake, SPEECH, variant["row_id"]).samples, abs=1 / 32768)
    assert variant["augmentation"] in done.output
    assert json.loads(variant["augmentation"])
    assert [path.name for path in output.parent.iterdir()] == ["variant.wav"]


def test_a_row_that_is_not_there_is_named(home: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app,
        ["augment", "render", "--row", "u0:asr~9", "--output", str(tmp_path / "x.wav"), "--home", str(home)],
    )
    assert isinstance(done.exception, UnknownRowError)
    assert "'u0:asr~9'" in str(done.exception)
    assert not (tmp_path / "x.wav").exists()
