"""``voxline import`` and ``voxline export`` find what they are asked for, and refuse what they cannot do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from packs import training_row
from typer.testing import CliRunner
from upstream_weights import write_code, write_qwen

from assets.outputs import Outputs
from pipelines import exporting
from pipelines.cli import app
from training_jobs import base_model
from training_jobs.jobs import BaseModelJob, write_result
from training_jobs.plan import SAMPLES_FILE, SAMPLES_SCHEMA
from training_jobs.profile import BaseModelSettings
from training_jobs.reporting import Reporter
from training_jobs.weights import model_digest
from validation.digests import digest_directory
from validation.errors import UserError
from validation.lake import Lake
from validation.schemas import frame_from_rows

runner = CliRunner()


def invoke(*arguments: object) -> str:
    result = runner.invoke(app, [str(one) for one in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One stage, trained on a pack of three rows, one of which the lake has no more; evaluated and registered."""
    monkeypatch.delenv("VOXLINE_LAKE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home = tmp_path / "home"
    training = home / "training" / "tiny"
    outputs = Outputs(training)
    source = write_qwen(tmp_path / "Qwen2.5-tiny")
    base = outputs.directory("base_model", "b" * 64)
    settings = BaseModelSettings(directory=str(source))
    job = BaseModelJob(settings=settings, audio_codes=8, seed=1, output_dir=base)
    base_model.run(job, Reporter(lambda line: None))
    (base / "job.json").write_text(job.model_dump_json())
    packs = training / "stage_packs" / "p"
    packs.mkdir(parents=True)
    (packs / "job.json").write_text(json.dumps({"corpora": ["c"]}))
    rows = [training_row(1), training_row(2, seconds=3599.0)]
    lake = Lake(str(home / "lake"))
    lake.write_table("training_rows", "c", frame_from_rows("training_rows", rows))
    named = [
        ("asr-1", 5),
        ("asr-1~1", 6),
        ("asr-2", 7),
        ("asr-3", 8),
    ]  # a variant of the first, and one that is gone
    samples = [
        {"row": number, "corpus": "c", "row_id": row, "tokens": tokens, "licences": ["CC0-1.0"]}
        for number, (row, tokens) in enumerate(named)
    ]
    pl.DataFrame(samples, schema=SAMPLES_SCHEMA).write_parquet(packs / SAMPLES_FILE)
    tokenizer = training / "speech_tokenizer" / "t" / "tokenizer"
    tokenizer.mkdir(parents=True)
    (tokenizer / "config.json").write_text(json.dumps({"kind": "mel_kmeans"}))
    write_result(tokenizer.parent, {"tokenizer_digest": "7" * 64})
    stage = outputs.directory("sft", "5" * 64)
    (base / "model").rename(tmp_path / "model")
    stage.mkdir(parents=True)
    (tmp_path / "model").rename(stage / "model")
    job_of_stage = {
        "spec": {"ratio": [1, 4, 3, 8]},
        # As where the home was moved from: what it names lies beside the output.
        "start_dir": str(Path("/gone/training/tiny") / base.relative_to(training) / "model"),
        "packs_dir": str(packs),
        "tracking": {"tags": {"tokenizer_digest": "7" * 64, "data_digest": "9" * 64}},
    }
    (stage / "job.json").write_text(json.dumps(job_of_stage))
    write_result(stage, {"model_digest": digest_directory(stage / "model")})
    for asset, result in (
        ("evaluation_report", {"scores_markdown": "| asr | 0.125 |"}),
        (
            "latency_benchmark",
            {
                "latency_markdown": "| boost | 9 |",
                "hardware": {"gpu": None, "cpu": "CPU", "dtype": "float32"},
            },
        ),
    ):
        directory = outputs.directory(asset, "e" * 64)
        directory.mkdir(parents=True)
        (directory / "job.json").write_text(json.dumps({"model_dir": str(stage / "model")}))
        write_result(directory, result)
        outputs.publish(asset, "e" * 64)
    outputs.publish("sft", "5" * 64)
    registered = training / "registered_model" / "r"
    registered.mkdir(parents=True)
    registered_job = {
        "model_dir": str(stage / "model"),
        "tokenizer_dir": str(tokenizer),
        "evaluation_dir": str(outputs.directory("evaluation_report", "e" * 64)),
        "benchmark_dir": str(outputs.directory("latency_benchmark", "e" * 64)),
    }
    (registered / "job.json").write_text(json.dumps(registered_job))
    write_result(registered, {"version": "2", "model_digest": model_digest(stage / "model", tokenizer)})
    (home / "voxline.yaml").write_text("profile: tiny\n")
    return home


def test_of_a_copied_home_the_copy_is_exported(tmp_path: Path, home: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    (weights,) = (copy / "training" / "tiny" / "sft").glob("*/model/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert "1 files of weights" in invoke("export", "2", tmp_path / "of-home", "--home", home)
    with pytest.raises(UserError, match=rf"version 2: what lies in {copy}/.* has changed"):
        invoke("export", "2", tmp_path / "of-copy", "--home", copy)


@pytest.mark.parametrize("what", ["sft", "2", "champion"])
def test_a_stage_a_version_and_an_alias_are_exported_with_their_card(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(exporting, "registry", lambda workspace: {"aliases": {"champion": "2"}})
    target = tmp_path / "export"
    target.mkdir()  # an empty one is as good as none
    said = invoke("export", what, target, "--code-from", write_code(tmp_path / "code"), "--home", home)
    assert "1 files of weights, 0 MCTP modules, 8 audio tokens, schedule [1, 0]" in said
    assert {path.name for path in target.iterdir()} == {
        "README.md", "audio_tokenizer", "config.json", "configuration_qwen2.py", "generation_config.json",
        "model.safetensors", "modeling_qwen2.py", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    card = (target / "README.md").read_text()
    for words in (
        "# sft (tiny)" if what == "sft" else "# vita-audio-mctp version 2",
        "Qwen2.5-tiny",
        "| c | CC0-1.0 | 3 | 1.00 (1 rows unknown) | 4 | 26 |",
        "| asr | 0.125 |",
        "| boost | 9 |",
        f"- data digest: `{'9' * 64}`",
        "mel_kmeans",
    ):
        assert words in card, words
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(tmp_path: Path, home: Path) -> None:
    target = tmp_path / "export"
    with pytest.raises(UserError, match=r"'7' is no stage .* registered no such version"):
        invoke("export", "7", target, "--home", home)
    with pytest.raises(UserError, match="multi_mctp has not been materialised"):
        invoke("export", "multi_mctp", target, "--home", home)
    with pytest.raises(UserError, match=r"has no configuration_qwen2\.py"):
        invoke("export", "sft", target, "--code-from", tmp_path, "--home", home)
    with pytest.raises(UserError, match="not an empty directory"):
        invoke("export", "sft", home, "--home", home)
    path = next(home.glob("training/tiny/sft/*/model/config.json"))
    path.write_text(path.read_text() + "\n")
    for what in ("sft", "2"):
        with pytest.raises(UserError, match="has changed since it was made"):
            invoke("export", what, target, "--home", home)
    assert not target.exists()
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(".")] == []


def test_a_forgotten_row_stays_on_the_card(tmp_path: Path, home: Path) -> None:
    (home / "training/tiny/stage_packs/p/forgotten.json").write_text(json.dumps(["f" * 64]))
    invoke("export", "sft", tmp_path / "export", "--home", home)
    assert "1 requests to forget came after the training" in (tmp_path / "export" / "README.md").read_text()


def test_weights_are_imported_from_the_command_line(tmp_path: Path) -> None:
    source = write_qwen(tmp_path / "qwen", hidden_size=896)
    options: list[Any] = ["--as", "mine", "--home", tmp_path / "home"]
    said = invoke("import", source, *options, "--licence", "apache-2.0")
    assert "0 MCTP modules, 259 tokens, 0 of them audio; licence apache-2.0" in said
    assert f"VOXLINE_BASE_MODEL={tmp_path / 'home' / 'weights' / 'mine'}" in said.replace("\n", "")
    assert "--profile 0.5b" in said
    narrow = write_qwen(tmp_path / "narrow", codes=8)
    said = invoke(
        "import", narrow, "--as", "narrow", "--start-at", "single_mctp", "--home", tmp_path / "home"
    )
    assert "no profile trains weights of hidden_size 16 (0.5b: 896, 1.5b: 1536, 7b: 3584)" in said
    with pytest.raises(UserError, match="--start-at is 'first'; it may be text_audio_alignment"):
        invoke("import", source, *options, "--start-at", "first")
