"""The sensor of new files starts prepare_data for what changed, and for nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.corpora import CorporaFile, load_corpora
from pipelines.jobs import RANGE_END, RANGE_START
from pipelines.sensors import build_new_raw_data


@pytest.fixture
def corpora(tmp_path: Path) -> CorporaFile:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "7_theo_0.wav").write_bytes(b"not looked at")
    options = {"pattern": r"(?P<label>\d)_(?P<speaker>[a-z]+)_(?P<take>\d+)\.wav", "labels": {"7": "seven"}}
    entries = [
        {
            "name": name,
            "reader": "labelled_names",
            "root": name,
            "options": options,
            "licence": "CC0-1.0",
            "language": "en",
        }
        for name in ("one", "two")
    ]
    (tmp_path / "corpora.yaml").write_text(yaml.safe_dump({"corpora": entries}))
    return load_corpora(tmp_path / "corpora.yaml")


def tick(corpora: CorporaFile | None, cursor: str | None) -> tuple[list[str], str | None]:
    """Corpora that one tick asks to prepare, and the cursor after it."""
    answer = build_new_raw_data(corpora)(dg.build_sensor_context(cursor=cursor))
    if isinstance(answer, dg.SkipReason):
        return [], cursor
    assert isinstance(answer, dg.SensorResult)
    requests = answer.run_requests or []
    assert all(request.tags[RANGE_START] == request.tags[RANGE_END] for request in requests)
    return [request.tags[RANGE_START] for request in requests], answer.cursor


def test_a_new_file_starts_its_corpus_only(corpora: CorporaFile, tmp_path: Path) -> None:
    first, cursor = tick(corpora, None)
    assert first == ["one", "two"]
    assert tick(corpora, cursor) == ([], cursor)
    shutil.copy(tmp_path / "two" / "7_theo_0.wav", tmp_path / "two" / "7_theo_1.wav")
    again, cursor = tick(corpora, cursor)
    assert again == ["two"]
    assert tick(corpora, cursor) == ([], cursor)


def test_a_changed_and_a_removed_file_count_too(corpora: CorporaFile, tmp_path: Path) -> None:
    _, cursor = tick(corpora, None)
    (tmp_path / "one" / "7_theo_0.wav").write_bytes(b"other words")
    changed, cursor = tick(corpora, cursor)
    assert changed == ["one"]
    (tmp_path / "one" / "7_theo_0.wav").unlink()
    removed, cursor = tick(corpora, cursor)
    assert removed == ["one"]


def test_a_home_without_corpora_says_why_nothing_happens() -> None:
    answer = build_new_raw_data(None)(dg.build_sensor_context())
    assert isinstance(answer, dg.SkipReason)
    assert "no corpora" in str(answer.skip_message)
