"""The data half of the graph with its lake and its corpora in an object store, by the real command."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
import yaml
from conftest import speak, voxline

pytestmark = [pytest.mark.s3, pytest.mark.slow]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speak(tmp_path_factory.mktemp("sample"), 60).parent


def test_the_corpora_are_prepared_in_a_store_and_then_there_is_nothing_to_do(
    s3, proxy, sample: Path, tmp_path: Path
) -> None:
    s3.put_tree(sample, "corpora")
    entries = yaml.safe_load((sample / "corpora.yaml").read_text(encoding="utf-8"))["corpora"]
    # Of audio and texts, and of rows of several audios; a third corpus would ask the same once more.
    two = [entry for entry in entries if entry["name"] in ("spoken_commands", "spoken_questions")]
    remote = tmp_path / "corpora.yaml"
    there = [{**entry, "root": f"{s3.url}/corpora/{entry['root']}"} for entry in two]
    remote.write_text(yaml.safe_dump({"corpora": there}), encoding="utf-8")
    home = str(tmp_path / "home")
    # tests/assets/test_s3_programs.py has what training reads of it.
    run = ["run", "--data-only", "--corpora", str(remote), "--profile", "debug", "--home", home]
    lake = {"VOXLINE_LAKE": f"{s3.url}/lake"}

    first = voxline(run, **lake)
    assert first.returncode == 0, f"{first.stdout}\n{first.stderr}"
    assert not Path(home, "lake").exists() and s3.uploads() == []

    asked = ["sql", "SELECT corpus, outcome, count(*) AS n FROM ledger GROUP BY ALL", "--format", "json"]
    answer = voxline([*asked, "--home", home], **lake)
    assert answer.returncode == 0, answer.stderr
    outcomes: Counter[str] = Counter()
    for row in json.loads(answer.stdout):
        outcomes[row["outcome"]] += row["n"]
    assert outcomes["accepted"] > 20 and outcomes["errored"] > 0

    proxy.forget()
    second = voxline(run, **lake)
    assert second.returncode == 0 and "Nothing was stale" in second.stdout, second.stdout
    assert not [key for key in proxy.read_keys() if key.startswith("corpora/") or key.endswith(".wav")]
    put = [request.key for request in proxy.requests if request.operation == "PutObject"]
    assert all("/.voxline-" in key for key in put), f"more than what the check of the lake writes: {put}"

    status = voxline(["status", "--json", "--home", home], **lake)
    assert status.returncode == 0, status.stderr
    health = {one["asset"]: one["health"] for one in json.loads(status.stdout)["assets"]}
    assert "failing" not in health.values(), health

    known = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for place in Path(home).rglob("*"):
        if place.is_file() and place.stat().st_size < 50_000_000:
            assert known["AWS_SECRET_ACCESS_KEY"].encode() not in place.read_bytes(), place


def test_a_lake_that_is_away_is_told_before_any_work(s3, sample: Path, tmp_path: Path) -> None:
    corpora = sample / "corpora.yaml"
    away = {"VOXLINE_LAKE": f"{s3.url}-none/lake"}
    done = voxline(
        ["run", "--corpora", str(corpora), "--profile", "debug", "--home", str(tmp_path / "h")], **away
    )
    assert done.returncode == 2 and "has no bucket" in done.stderr, done.stderr
    assert not (tmp_path / "h").exists()
