"""The report in the graph: drift warns, and keeps training rows from being written where the corpus says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

import assets.corpus_report
import assets.training_jsonl
from assets.corpora import CorporaFileError, load_corpora
from assets.corpus_report import DRIFT_CHECK
from assets.report import build
from assets.report.profiles import accept_last
from assets.workspace import Workspace
from validation.lake import Lake


def corpora_file(root: Path, entry: Any, **more: Any) -> Path:
    document = entry.model_dump(mode="json", include={"name", "reader", "root", "licence", "language"})
    path = root / "corpora.yaml"
    path.write_text(yaml.safe_dump({"corpora": [{**document, **more}]}))
    return path


def materialize(home: Path, corpora: Path) -> dg.ExecuteInProcessResult:
    partitions = dg.StaticPartitionsDefinition(["made"])
    built = [assets.corpus_report.build(partitions), assets.training_jsonl.build(partitions)]
    return dg.materialize(
        built,
        partition_key="made",
        resources={"workspace": Workspace(home=str(home), corpora_file=str(corpora))},
        raise_on_error=False,
    )


def keep(root: Path, names: str) -> None:
    (root / "metadata.csv").write_text("".join(f"{name}|hello there|hello there\n" for name in names))
    for path in (root / "wavs").iterdir():
        if path.stem not in names:
            path.unlink()


@pytest.mark.parametrize(("on_drift", "is_written"), [("warn", True), ("fail", False)])
def test_a_drift_warns_or_keeps_training_rows_from_being_written(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch, on_drift: str, is_written: bool
) -> None:
    monkeypatch.setattr(build, "histograms_markdown", lambda *_: "drawn")  # most of three pages' time
    home, root = tmp_path / "home", tmp_path / "c"
    lake = Lake(str(home / "lake"))
    entry = make.ljspeech(root, [(name, "hello there") for name in "abcd"])
    corpora = corpora_file(tmp_path, entry, drift={"on_drift": on_drift})
    make.run_all(entry, lake)
    first = materialize(home, corpora)
    (found,) = first.get_asset_check_evaluations()
    assert first.success and found.passed and found.description == "nothing to compare made with yet"
    shown = first.asset_materializations_for_node("corpus_report")
    texts = {name: value for event in shown for name, value in event.metadata.items()}
    assert Path(str(texts["report"].value)).is_file() and Path(str(texts["index"].value)).is_file()
    assert {"histograms", "reasons", "before_after", "languages", "drift"} <= set(texts)

    keep(root, "ab")
    make.run_all(entry, lake)
    lake.remove_table("training_rows", "made")
    result = materialize(home, corpora)
    (found,) = result.get_asset_check_evaluations()
    assert (found.check_name, found.passed) == (DRIFT_CHECK, False)
    assert found.severity == (dg.AssetCheckSeverity.WARN if is_written else dg.AssetCheckSeverity.ERROR)
    assert "50.0% less" in str(found.description) and "--accept-drift made" in str(found.description)
    assert lake.has_table("training_rows", "made") == is_written

    accept_last(lake, "made")
    assert materialize(home, corpora).success
    assert lake.has_table("training_rows", "made")


def test_unknown_keys_of_drift_are_refused(tmp_path: Path, make: Any) -> None:
    entry = make.ljspeech(tmp_path / "c", [("a", "hello there")])
    with pytest.raises(CorporaFileError, match=r"drift\.max_loss: Extra inputs are not permitted"):
        load_corpora(corpora_file(tmp_path, entry, drift={"max_loss": 0.1}))
