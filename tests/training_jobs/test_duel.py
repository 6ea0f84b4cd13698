"""Side by side with the champion: worse and slower candidates are refused, better ones take its place."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from registering import empty_registry, other_model, register_job, write_figures

from training_jobs.jobs import RegisterJob, Tracking
from training_jobs.promotion import Change, open_registry, promote, rollback
from training_jobs.register import register
from training_jobs.registered import version_at, version_numbered
from training_jobs.reporting import Reporter
from training_jobs.tracking_store import connect
from training_jobs.version_weights import find_weights

_SCORES = {
    f"{mode}/{name}"
    for mode in ("vanilla", "boost")
    for name in (
        "asr_known_wer", "asr_known_exact", "asr_unseen_wer", "asr_unseen_exact", "sqa_exact", "tts_wer", "tts_exact",
    )
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_versions(tracking: Tracking) -> Iterator[None]:
    with empty_registry(tracking):
        yield


@pytest.fixture
def job(trained: Any, tracking: Tracking, tmp_path: Path) -> RegisterJob:
    return register_job(trained, tracking, tmp_path)


def test_a_worse_and_a_slower_candidate_are_refused_and_say_by_how_much(
    job: RegisterJob, tracking: Tracking, report: Reporter, tmp_path: Path
) -> None:
    champion = register(job, report)
    worse = register(other_model(job, tmp_path / "worse", noise=2.0), report)
    slower = register(other_model(job, tmp_path / "slower", idle_layers=10), report)

    assert worse["aliases"] == slower["aliases"] == ["candidate"]  # each in its time
    assert slower["registry_aliases"] == {"candidate": slower["version"], "champion": champion["version"]}
    assert not worse["gate_passed"] and not slower["gate_passed"]
    assert {name for name, one in worse["duel"].items() if name in _SCORES and one["held"]} == set()
    assert set(slower["duel"]) == {*_SCORES, "boost/first_chunk_ms_p50", "boost/tokens_per_second_p50"}
    # The same answers: only what is timed fails.
    failed = {name for name, one in slower["duel"].items() if not one["held"]}
    assert failed == {"boost/first_chunk_ms_p50", "boost/tokens_per_second_p50"}
    assert all(slower["duel"][name]["difference"] == 0.0 for name in _SCORES)
    chunk = slower["duel"]["boost/first_chunk_ms_p50"]
    assert chunk["interval"][0] > chunk["limit"] == 0.05
    client = connect(tracking)
    version = version_numbered(client, slower["version"])
    assert version is not None and version.tags["gate"] == "failed"
    assert "failed: boost/first_chunk_ms_p50" in version.tags["gate_reasons"]
    assert "| boost/tokens_per_second_p50 |" in (version.description or "")
    assert f"Against version {champion['version']}" in slower["duel_markdown"]
    assert "load average" in slower["duel_markdown"]


def test_a_better_candidate_takes_the_champions_place_until_a_person_takes_it_back(
    job: RegisterJob, tracking: Tracking, report: Reporter, tmp_path: Path
) -> None:
    first = register(other_model(job, tmp_path / "bad", noise=2.0, idle_layers=10), report)
    assert first["aliases"] == ["candidate", "champion"]
    better = register(job, report)
    assert better["gate_passed"], better["gate_reasons"]
    assert better["registry_aliases"] == {
        "candidate": better["version"],
        "champion": better["version"],
        "previous": first["version"],
    }
    again = register(job, report)
    assert again["duel"] == {} and again["registry_aliases"] == better["registry_aliases"]

    client = open_registry(tracking.uri)
    rollback(client, tracking.uri, Change.now("alice", "stutters in noise"))
    once_more = register(job, report)
    assert once_more["registry_aliases"] == {"candidate": better["version"], "champion": first["version"]}
    (reason,) = [line for line in once_more["gate_reasons"] if line.startswith("failed: ")]
    assert "alice took it away" in reason and reason.endswith(
        f": stutters in noise; voxline promote {better['version']} gives it back"
    )
    promote(client, tracking.uri, "candidate", Change.now("alice", "it was the microphone"))
    assert register(job, report)["aliases"] == ["candidate", "champion"]
    version = version_at(client, "champion")
    assert version is not None and "stutters in noise" in (version.description or "")


def test_a_lost_champion_counts_by_what_is_on_record_and_only_on_the_same_rows(
    job: RegisterJob, tracking: Tracking, report: Reporter, tmp_path: Path
) -> None:
    lost = other_model(job, tmp_path / "lost")
    champion = register(lost, report, copy_limit_bytes=10)
    shutil.rmtree(lost.model_dir)
    write_figures(tmp_path, boost_rate=200.0)  # on the same hardware, by the benchmark
    slower = register(job, report)
    assert slower["aliases"] == ["candidate"]
    assert set(slower["duel"]) == {"boost/first_chunk_ms_p50", "boost/tokens_per_second_p50"}
    assert any("can be run no more" in line and "is gone" in line for line in slower["gate_reasons"])
    write_figures(tmp_path, boost_rate=245.0, held_out="d" * 64)
    passed = register(job, report)
    assert passed["registry_aliases"]["champion"] == passed["version"]
    assert passed["registry_aliases"]["previous"] == champion["version"]
    assert any(line.startswith("not compared: scores: ") for line in passed["gate_reasons"])


def test_weights_that_were_changed_behind_mlflows_back_are_found(
    job: RegisterJob, tracking: Tracking, report: Reporter, tmp_path: Path
) -> None:
    result = register(job, report)
    client = connect(tracking)
    version = version_numbered(client, result["version"])
    assert version is not None
    checkpoint, _ = find_weights(client, version, tmp_path)
    (checkpoint / "extra.txt").write_text("changed")
    with pytest.raises(ValueError, match="have changed: digest"):
        find_weights(client, version, tmp_path)
    shutil.rmtree(checkpoint)
    with pytest.raises(ValueError, match="the checkpoint of version 1 is gone from"):
        find_weights(client, version, tmp_path)
