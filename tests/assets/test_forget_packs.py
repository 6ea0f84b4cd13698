"""Packs made after somebody was forgotten are those of a corpus that never had them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forgetting import ANN, SPEAKERS, apply, holds, prepare, table_corpus
from packs import CODES, Messages, pack_job, packed_names

from assets.workspace import Workspace
from models import extend_text_tokenizer, make_byte_tokenizer
from training_jobs.jobs import PackJob
from training_jobs.pack import run
from training_jobs.plan import ARRAYS
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
