"""The whole graph at the debug size, run once by the real command; the tests look at what it left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from pipelines.sql import query
from validation.lake import Lake

if TYPE_CHECKING:
    from conftest import Pipeline

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("alone")]

_ASSETS = {
    "raw_utterances",
    "audio_22k",
    "audio_quality",
    "accepted_utterances",
    "corpus_report",
    "audio_fingerprints",
    "duplicates",
    "leakage",
    "training_jsonl",
    "augmentations",
    "speech_tokenizer",
    "audio_tokens",
    "base_model",
    "stage_packs",
    "text_audio_alignment",
    "single_mctp",
    "multi_mctp",
    "sft",
    "evaluation_report",
    "latency_benchmark",
    "registered_model",
    "version_report",
}


def rows(pipeline: Pipeline, statement: str) -> list[dict[str, Any]]:
    return query(Lake(str(pipeline.home / "lake")), statement).rows(named=True)


def test_the_last_screen_tells_what_came_out(pipeline: Pipeline) -> None:
    for words in ("spoken_commands", "missing_audio", "multi_mctp", "boost", "version", "make up"):
        assert words in pipeline.output


def test_every_row_that_was_read_has_one_outcome(pipeline: Pipeline) -> None:
    statement = "SELECT corpus, count(*) AS outcomes FROM ledger GROUP BY corpus"
    answer = pipeline.voxline("sql", statement, "--format", "json")
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert {row["corpus"] for row in found} == {"spoken_commands", "spoken_mandarin", "spoken_questions"}
    for row in found:
        manifest = pipeline.home / "lake" / "manifests" / "raw_utterances" / f"{row['corpus']}.json"
        # Counted while reading, before there was a ledger.
        assert row["outcomes"] == json.loads(manifest.read_text(encoding="utf-8"))["summary"]["read"] > 0
    twice = rows(pipeline, "SELECT corpus, source, utterance_id FROM ledger GROUP BY ALL HAVING count(*) > 1")
    assert twice == []


def test_every_planted_fault_is_in_the_ledger(pipeline: Pipeline) -> None:
    reasons = {
        row["reason"]
        for row in rows(pipeline, "SELECT DISTINCT reason FROM ledger WHERE outcome <> 'accepted'")
    }
    assert {
        "clipped",
        "silent",
        "truncated",
        "text_too_long",
        "missing_audio",
        "empty_text",
        "duplicate_id",
    } <= reasons


def test_held_out_speech_is_in_no_pack(pipeline: Pipeline) -> None:
    found = rows(pipeline, "SELECT corpus || '/' || row_id AS name, split FROM training_rows")
    held_out = {row["name"] for row in found if row["split"] == "test"}
    trained = {row["name"] for row in found if row["split"] == "train"}
    assert held_out
    assert not held_out & trained
    packs = list((pipeline.home / "training" / "debug" / "stage_packs").glob("*/samples.parquet"))
    assert packs
    for path in packs:
        samples = pl.read_parquet(path)
        packed = {f"{corpus}/{row_id}" for corpus, row_id in samples.select("corpus", "row_id").iter_rows()}
        assert packed
        # Every name is one of a training row: none that is held out, and none that this test could not recognise.
        assert packed <= trained


def test_status_is_healthy_and_knows_the_registry(pipeline: Pipeline) -> None:
    answer = pipeline.voxline("status", "--json")
    assert answer.returncode == 0, answer.stderr
    status = json.loads(answer.stdout)
    assert {asset["asset"] for asset in status["assets"]} == _ASSETS
    # At this size a stage may learn nothing in its few steps, which is a warning.
    stages = {"text_audio_alignment", "single_mctp", "multi_mctp", "sft"}
    assert {asset["health"] for asset in status["assets"] if asset["asset"] not in stages} == {"healthy"}
    assert {asset["health"] for asset in status["assets"] if asset["asset"] in stages} <= {
        "healthy",
        "warning",
    }
    assert status["registry"]["model"] == "vita-audio-mctp"
    assert status["registry"]["aliases"]["candidate"] == "1"


def test_a_second_run_recomputes_nothing_and_says_so(pipeline: Pipeline) -> None:
    before = modification_times(pipeline.home)
    again = pipeline.voxline("run", "--corpora", str(pipeline.corpora), "--profile", "debug")
    assert again.returncode == 0, again.stderr
    assert "Nothing was stale" in again.stdout
    assert f"all {len(_ASSETS)} assets are up to date" in again.stdout
    assert modification_times(pipeline.home) == before


def modification_times(home: Path) -> dict[str, int]:
    """Of everything that a step computes: tables, audio, tokens, packs, checkpoints, reports."""
    made = [
        *(home / "lake").rglob("*"),
        *(home / "training").rglob("result.json"),
        *(home / "training").rglob("*.npy"),
    ]
    return {str(path): path.stat().st_mtime_ns for path in made if path.is_file()}


def test_what_was_written_for_training_can_be_read_by_anyone(pipeline: Pipeline) -> None:
    files = sorted((pipeline.home / "lake" / "jsonl").rglob("*.jsonl"))
    assert len(files) >= 3
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            assert set(row) <= {"messages", "audios"}
            markers = sum(message["content"].count("<|audio|>") for message in row["messages"])
            assert markers == len(row.get("audios", []))
            assert all(Path(audio).is_file() for audio in row.get("audios", []))


_SERVE = """
import json, sys
import mlflow
import pandas as pd
model = mlflow.pyfunc.load_model("models:/vita-audio-mctp@candidate")
answer = model.predict(pd.DataFrame({"audio": [sys.argv[1]]}))
print(json.dumps({"columns": sorted(answer.columns), "text": answer["text"][0]}))
"""


def test_the_registered_model_answers_in_a_fresh_process(pipeline: Pipeline, tmp_path: Path) -> None:
    wav = next((pipeline.home / "lake" / "audio_22k").rglob("*.wav"))
    answer = subprocess.run(
        [sys.executable, "-c", _SERVE, str(wav)],
        env=os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{pipeline.home}/mlflow.db"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout.splitlines()[-1])
    assert "text" in found["columns"]
    assert isinstance(found["text"], str)
