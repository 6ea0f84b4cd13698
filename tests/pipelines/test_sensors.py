"""The sensor of new files starts prepare_data for what changed, and for nothing else."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assets.corpora import CorporaFile, CorpusEntry, load_corpora
from pipelines import sensors
from pipelines.jobs import PREPARE_DATA, RANGE_END, RANGE_START
from pipelines.sensors import RETRY_AFTER_S, build_new_raw_data
from validation.errors import UserError


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


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


Tick = Callable[[CorporaFile | None, str | None], tuple[list[str], str | None]]


@pytest.fixture
def tick(instance: dg.DagsterInstance) -> Tick:
    return lambda corpora, cursor: evaluate(instance, corpora, cursor)


def evaluate(
    instance: dg.DagsterInstance, corpora: CorporaFile | None, cursor: str | None
) -> tuple[list[str], str | None]:
    """Corpora that one tick asks to prepare, and the cursor after it."""
    answer = build_new_raw_data(corpora)(dg.build_sensor_context(instance=instance, cursor=cursor))
    if isinstance(answer, dg.SkipReason):
        return [], cursor
    assert isinstance(answer, dg.SensorResult)
    requests = answer.run_requests or []
    assert all(request.tags[RANGE_START] == request.tags[RANGE_END] for request in requests)
    # Dagster starts no second run with the same key, whatever became of the first.
    assert all(request.run_key is None for request in requests)
    return [request.tags[RANGE_START] for request in requests], answer.cursor


def test_a_new_file_starts_its_corpus_only(tick: Tick, corpora: CorporaFile, tmp_path: Path) -> None:
    first, cursor = tick(corpora, None)
    assert first == ["one", "two"]
    assert tick(corpora, cursor) == ([], cursor)
    shutil.copy(tmp_path / "two" / "7_theo_0.wav", tmp_path / "two" / "7_theo_1.wav")
    again, cursor = tick(corpora, cursor)
    assert again == ["two"]
    assert tick(corpora, cursor) == ([], cursor)


def test_a_store_that_is_away_keeps_no_other_corpus_from_being_prepared(
    tick: Tick, corpora: CorporaFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "VOXLINE_S3_ATTEMPTS": "1"}
    for name, value in {**known, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    one, two = corpora.corpora
    away = corpora.model_copy(update={"corpora": (one.model_copy(update={"root": "s3://bucket/one"}), two)})
    assert tick(away, None)[0] == ["two"]


def test_a_changed_and_a_removed_file_count_too(tick: Tick, corpora: CorporaFile, tmp_path: Path) -> None:
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


def test_a_corpus_that_returns_to_an_earlier_state_is_prepared_again(
    tick: Tick, corpora: CorporaFile, tmp_path: Path
) -> None:
    _, cursor = tick(corpora, None)
    file, aside = tmp_path / "one" / "7_theo_0.wav", tmp_path / "aside"
    file.rename(aside)
    removed, cursor = tick(corpora, cursor)
    aside.rename(file)
    returned, cursor = tick(corpora, cursor)
    assert (removed, returned) == (["one"], ["one"])


def test_a_root_that_is_not_mounted_is_no_empty_corpus(
    tick: Tick, corpora: CorporaFile, tmp_path: Path
) -> None:
    _, cursor = tick(corpora, None)
    (tmp_path / "one").rename(tmp_path / "unmounted")
    (tmp_path / "two" / "7_theo_1.wav").write_bytes(b"more")
    changed, cursor = tick(corpora, cursor)
    assert changed == ["two"]
    (tmp_path / "unmounted").rename(tmp_path / "one")
    assert tick(corpora, cursor) == ([], cursor)


def test_a_failed_preparation_is_tried_again_after_an_hour(
    tick: Tick, instance: dg.DagsterInstance, corpora: CorporaFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, cursor = tick(corpora, None)
    run = dg.DagsterRun(
        job_name=PREPARE_DATA,
        run_id="0" * 32,
        status=dg.DagsterRunStatus.STARTED,
        tags={RANGE_START: "two", RANGE_END: "two"},
    )
    instance.add_run(run)
    instance.report_run_failed(run, "the disk was full")
    assert tick(corpora, cursor) == ([], cursor)
    later = time.time() + RETRY_AFTER_S + 1
    monkeypatch.setattr(sensors.time, "time", lambda: later)
    again, cursor = tick(corpora, cursor)
    assert again == ["two"]


def test_a_store_that_stops_answering_while_it_is_listed_keeps_no_other_corpus_waiting(
    tick: Tick, corpora: CorporaFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = sensors.listing_digest

    def breaks_off(entry: CorpusEntry) -> str:
        if entry.name == "one":
            raise UserError("the store does not answer any more")
        return really(entry)

    monkeypatch.setattr(sensors, "listing_digest", breaks_off)
    due, cursor = tick(corpora, None)
    assert due == ["two"]
    monkeypatch.setattr(sensors, "listing_digest", really)
    assert tick(corpora, cursor)[0] == ["one"]
