"""Packs made after somebody was forgotten are those of a corpus that never had them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from forgetting import ANN, SPEAKERS, apply, holds, prepare, table_corpus
from packs import CODES, Messages, pack_job, packed_names

from assets.outputs import Output
from assets.stage_packs import publish_ledger
from assets.workspace import Workspace
from models import extend_text_tokenizer, make_byte_tokenizer
from pipelines.forgetting import opened
from training_jobs.jobs import PackJob
from training_jobs.pack import run
from training_jobs.plan import ARRAYS, SAMPLE_LEDGER_FILE, SAMPLES_FILE
from training_jobs.profile import MixtureItem
from validation.lake import Lake


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("VOXLINE_LAKE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Workspace(home=str(tmp_path / "home"))


def packed(folder: Path, lake: Lake, output: Path) -> PackJob:
    """The whole lake, packed."""
    model = folder / "model"
    extend_text_tokenizer(make_byte_tokenizer(), CODES).save_pretrained(model)
    mixture = [MixtureItem(task="asr", ratio=1.0), MixtureItem(task="tts", ratio=1.0)]
    job = pack_job(
        folder,
        model,
        lake=lake.url,
        corpora=["made"],
        mixture=mixture,
        output_dir=output,
        tokenizer_digest="c" * 64,  # of forgetting.prepare
    )
    run(job, Messages().report)
    return job


def test_packs_after_forgetting_are_those_of_a_corpus_without_them(
    tmp_path: Path, make: Any, workspace: Workspace
) -> None:
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    packs = Path(workspace.home) / "training/tiny/stage_packs"
    before = packed(tmp_path, lake, packs / "before")
    assert {name.split("/")[2] for row in packed_names(before) for name in row} == {"zebediah", "ben"}
    apply(workspace, ANN)
    assert not list((packs / "before").glob("*.npy")) and not (packs / "before/result.json").exists()
    prepare(entry, lake, make)
    after = packed(tmp_path, lake, packs / "after")

    never = table_corpus(tmp_path / "n", make)
    rows = (tmp_path / "n/rows.csv").read_text().splitlines(keepends=True)
    (tmp_path / "n/rows.csv").write_text("".join(row for row in rows if "zebediah" not in row))
    shutil.rmtree(tmp_path / "n/audio/zebediah")
    without = Lake(str(tmp_path / "without"))
    prepare(never, without, make)
    expected = packed(tmp_path, without, tmp_path / "expected")
    names = packed_names(after)
    assert names == packed_names(expected)
    assert sum(map(len, names)) == 2 * list(SPEAKERS.values()).count("ben")
    for name in ARRAYS:
        found, wanted = (np.load(job.output_dir / f"{name}.npy") for job in (after, expected))
        assert np.array_equal(found, wanted)
    assert holds(packs, "zebediah", "quincunx", "ochre") == []


def test_a_pack_that_only_left_a_row_out_lets_go_of_its_name_and_no_checkpoint_saw_it(
    tmp_path: Path, make: Any, workspace: Workspace
) -> None:
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    profile = Path(workspace.home) / "training/tiny"
    directory = profile / "stage_packs/before"
    job = packed(tmp_path, lake, directory)
    # As if the speaker's rows had been too long: the pack names them, and holds none.
    ledger, samples = (
        pl.read_parquet(directory / SAMPLE_LEDGER_FILE),
        pl.read_parquet(directory / SAMPLES_FILE),
    )
    is_hers = pl.col("row_id").str.contains("zebediah")
    ledger.with_columns(draws=pl.when(is_hers).then(0).otherwise("draws")).write_parquet(
        directory / SAMPLE_LEDGER_FILE
    )
    samples.filter(~is_hers).write_parquet(directory / SAMPLES_FILE)
    publish_ledger(lake, "tiny", "sft", Output("stage_packs", "e" * 64, directory))
    stage = profile / "text_audio_alignment/s1"
    stage.mkdir(parents=True)
    (stage / "job.json").write_text(json.dumps({"packs_dir": str(job.output_dir), "start_dir": "x"}))
    with opened(workspace, ANN, with_copies=False) as request:
        (pack,) = request.lineage.packs
        assert not pack.rows and len(pack.left_out) == 4
        assert request.lineage.checkpoints == []
    apply(workspace, ANN)
    assert holds(profile / "stage_packs", "zebediah") == []
    assert holds(Path(lake.root) / "tables/sample_ledger", "zebediah") == []
    assert lake.read_table("sample_ledger")["row_id"].len() == 4
    with opened(workspace, ANN, with_copies=False) as request:
        assert request.lineage.checkpoints == []
