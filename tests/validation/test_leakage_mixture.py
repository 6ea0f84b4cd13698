"""Upstream's published stage-1 mixture, which trains on development and test sets, is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from leaking_rows import check, copied, row, syllables

from validation.errors import ConfigurationError
from validation.lake import Lake
from validation.leakage import verdict
from validation.leakage_mixture import mixture_findings, read_mixture
from validation.leakage_rules import EvaluationSet

STAGE_1 = Path(__file__).parent / "mixtures" / "vita_audio_stage1.yaml"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def test_upstreams_stage_1_mixture_is_refused_by_the_names_of_its_parts(lake):
    found = mixture_findings([STAGE_1])
    blocked = [path.removeprefix("datasets/jsonl/") for path in found["utterance_id"].to_list()]
    assert blocked == [
        "wenet-e2e/wenetspeech/DEV_fixed.jsonl",
        "openslr/SLR68/dev.jsonl",
        "speechcolab/gigaspeech/dev.jsonl",
        "MLCommons/peoples_speech/validation.jsonl",
        "facebook/voxpopuli/en_accented_test.jsonl",
        "shenyunhang/AISHELL-1/dev.jsonl",
    ]
    assert set(found["action"]) == {"block"}
    assert "vita_audio_stage1.yaml: dataset speechcolab/gigaspeech is trained on" in found["detail"][2]
    check(lake, [row("a"), row("b", "test")], mixtures=(STAGE_1,))
    assert verdict(lake).blocked == 6


def test_upstreams_stage_1_mixture_is_refused_by_its_rows(lake):
    """Its JSONL files as corpora, and the published development sets declared: no name gives it away here."""
    rows, audio = [], {}
    for name, part in read_mixture(STAGE_1).items():
        for number, path in enumerate(part.data_paths):
            corpus = name.lower().replace("/", "_").replace("-", "_")
            held_out = "dev" in path.lower() or "valid" in path or "test" in path
            rows.append(row(f"{path.strip()}:1", corpus=corpus, audio=path))
            if held_out:
                # What is published as FLAC lies in the mixture as a resampled copy, every second time.
                there = path if number % 2 else f"original of {path}"
                rows.append(row(path.strip(), corpus="published", audio=there))
                seed = len(rows)
                audio |= {path: copied(syllables(2.0, seed)), f"original of {path}": syllables(2.0, seed)}
    found = check(
        lake, rows, EvaluationSet(name="published", corpora=("published",), rows="all"), audio=audio
    )
    refused = {name for _, name, _ in found if name.endswith(":1")}
    assert refused == {f"{path}:1" for path in mixture_findings([STAGE_1])["utterance_id"]}


def test_a_part_is_known_by_its_whole_name_and_only_reported_where_it_is_not_drawn(tmp_path):
    path = tmp_path / "mixture.yaml"
    parts = {
        "a": {"ratio": 0.0, "data_paths": ["x/dev.jsonl"]},
        "b": {"ratio": 1, "data_paths": ["latest.jsonl"]},
        "c": {"ratio": 1, "data_paths": ["fleurs.test", "fleurs.train"]},
    }
    path.write_text(yaml.safe_dump({"dataset": parts}))
    assert mixture_findings([path]).select("action", "utterance_id").rows() == [
        ("report", "x/dev.jsonl"),
        ("block", "fleurs.test"),
    ]


@pytest.mark.parametrize(
    "text",
    ["", "dataset: 3", "dataset: {a: {ratio: 1}}", "dataset: {a: {ratio: -1, data_paths: [x]}}", "a: ["],
)
def test_a_file_that_is_no_mixture_is_named(tmp_path, text):
    path = tmp_path / "mixture.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"mixture\.yaml"):
        mixture_findings([path])


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ({"data_paths": "x.jsonl"}, "dataset.a: data_paths: wanted is a list (got 'x.jsonl')"),
        ({"data_path": []}, "dataset.a: unknown key 'data_path'; allowed are ratio, num, data_paths"),
        ("x.jsonl", "dataset.a: wanted are keys with values"),
    ],
)
def test_a_dataset_that_cannot_be_read_is_refused_in_words_of_the_file(tmp_path, dataset, said):
    path = tmp_path / "mixture.yaml"
    path.write_text(yaml.safe_dump({"dataset": {"a": dataset}}))
    with pytest.raises(ConfigurationError) as caught:
        read_mixture(path)
    assert str(caught.value) == f"{path}: {said}"
