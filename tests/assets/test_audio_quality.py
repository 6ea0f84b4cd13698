"""Histograms are drawn when their measures changed, and show the corpora of the file only."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import numpy as np
import pytest
import yaml

from assets import audio_quality
from assets.audio_quality import histograms
from assets.workspace import Workspace
from validation.histograms import Cells
from validation.lake import Lake
from validation.measures import measure
from validation.scales import SCALE_OF
from validation.schemas import frame_from_rows


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Titles and numbers of recordings of what was drawn."""
    calls: list[tuple[str, int]] = []

    def draw(cells: Cells, title: str) -> str:
        rows = cells.distribution(SCALE_OF["duration_s"]).rows
        calls.append((title, rows))
        return f"{title}: {rows}"

    monkeypatch.setattr(audio_quality, "histograms_markdown", draw)
    return calls


def measured(lake: Lake, corpus: str, level_dbfs: float = -20.0) -> None:
    known = asdict(measure(np.ones(16_000, dtype=np.float32), 16_000))
    row = {"corpus": corpus, "utterance_id": "a", "source_rate_hz": 16_000, **known, "level_dbfs": level_dbfs}
    lake.write_table("audio_quality", corpus, frame_from_rows("audio_quality", [row]))


def test_the_same_measures_are_drawn_once(lake: Lake, drawn: list[tuple[str, int]]) -> None:
    measured(lake, "one")
    assert [histograms(lake, "one", ["one"]) for _ in range(2)] == ["one: 1", "one: 1"]
    assert drawn == [("one", 1)]


def test_changed_measures_are_drawn_anew(lake: Lake, drawn: list[tuple[str, int]]) -> None:
    for level in (-20.0, -30.0):
        measured(lake, "one", level)
        histograms(lake, "one", ["one"])
    assert drawn == [("one", 1), ("one", 1)]


def test_corpora_that_are_not_asked_for_are_not_drawn(lake: Lake, drawn: list[tuple[str, int]]) -> None:
    for corpus in ("one", "two", "removed"):
        measured(lake, corpus)
    histograms(lake, "all corpora", ["one", "two"])
    assert drawn == [("all corpora", 2)]


def test_a_corpus_that_the_file_no_longer_names_is_not_shown(
    tmp_path: Path, make: SimpleNamespace, drawn: list[tuple[str, int]]
) -> None:
    entry = make.ljspeech(tmp_path / "root", [("a", "hello"), ("b", "hello there")])
    document = {
        "corpora": [entry.model_dump(mode="json", include={"name", "reader", "root", "licence", "language"})]
    }
    (tmp_path / "corpora.yaml").write_text(yaml.safe_dump(document))
    workspace = Workspace(home=str(tmp_path / "home"), corpora_file=str(tmp_path / "corpora.yaml"))
    make.run_all(entry, workspace.lake)
    measured(workspace.lake, "removed")
    asset = audio_quality.build(dg.StaticPartitionsDefinition(["made"]))
    result = dg.materialize(
        [asset], partition_key="made", resources={"workspace": workspace}, selection=[asset]
    )
    assert result.success
    assert drawn == [("made", 2), ("all corpora", 2)]
