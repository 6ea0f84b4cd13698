"""The gate in the graph: nothing is trained on rows that share audio with a declared evaluation set."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import pytest
import yaml

import assets.leakage
import assets.training_jsonl
from assets.audio.fingerprints import make_fingerprints
from assets.corpora import CorporaFileError, load_corpora
from assets.leakage import LEAKAGE_CHECK, held_out_speakers
from assets.workspace import Workspace
from validation.lake import Lake


def corpora_file(root: Path, entries, **more) -> Path:
    path = root / "corpora.yaml"
    documents = [
        entry.model_dump(mode="json", include={"name", "reader", "root", "licence", "language", "split"})
        for entry in entries
    ]
    path.write_text(yaml.safe_dump({"corpora": documents, **more}))
    return path


@pytest.fixture
def two_corpora(tmp_path, make):
    """``a`` is for training; ``b`` is held out, and one of its recordings is one of ``a``'s, as a copy of the file."""
    ours = make.ljspeech(tmp_path / "a", [("one", "first words"), ("two", "second words")])
    theirs = make.ljspeech(tmp_path / "b", [("three", "third words"), ("four", "fourth words")])
    for seed, name in enumerate(("one", "two", "three", "four")):
        make.speech(tmp_path / ("a" if seed < 2 else "b") / "wavs" / f"{name}.wav", seed=seed + 10)
    shutil.copy(tmp_path / "a" / "wavs" / "two.wav", tmp_path / "b" / "wavs" / "four.wav")
    held_out = {"split": [{"by": "pattern", "field": "utterance_id", "pattern": "."}]}
    return [
        type(ours).model_validate({**ours.model_dump(mode="json"), "name": "a", "options": {}}),
        type(ours).model_validate({**theirs.model_dump(mode="json"), "name": "b", "options": {}, **held_out}),
    ]


def materialize(home: Path, corpora: Path) -> dg.ExecuteInProcessResult:
    partitions = dg.StaticPartitionsDefinition(["a", "b"])
    return dg.materialize(
        [*assets.leakage.build(partitions), assets.training_jsonl.build(partitions), accepted(partitions)],
        selection=["leakage", "training_jsonl"],
        partition_key="a",
        resources={"workspace": Workspace(home=str(home), corpora_file=str(corpora))},
        raise_on_error=False,
    )


def accepted(partitions: dg.PartitionsDefinition[str]) -> dg.AssetSpec:
    return dg.AssetSpec("accepted_utterances", partitions_def=partitions)


def test_a_shared_recording_keeps_the_training_rows_from_being_written(tmp_path, make, two_corpora):
    home = tmp_path / "home"
    lake = Lake(str(home / "lake"))
    for entry in two_corpora:
        make.run_all(entry, lake)
        make_fingerprints(entry, lake)
        lake.remove_table("training_rows", entry.name)
    declared = {"evaluation": {"sets": [{"name": "b", "corpora": ["b"]}]}}
    result = materialize(home, corpora_file(tmp_path, two_corpora, **declared))
    (found,) = result.get_asset_check_evaluations()
    assert (found.check_name, found.passed, found.severity) == (
        LEAKAGE_CHECK,
        False,
        dg.AssetCheckSeverity.ERROR,
    )
    assert "two of corpus a has the very same audio as four of b" in found.metadata["first"].value
    assert not lake.has_table("training_rows", "a")

    shared = {"evaluation": {"sets": [{"name": "b", "corpora": ["b"], "rules": {"audio": "report"}}]}}
    assert materialize(home, corpora_file(tmp_path, two_corpora, **shared)).success
    assert lake.has_table("training_rows", "a")


def test_fingerprints_of_known_audio_are_not_made_again(tmp_path, make, two_corpora):
    lake = Lake(str(tmp_path / "lake"))
    entry = two_corpora[0]
    make.run_all(entry, lake)
    first = make_fingerprints(entry, lake)
    assert (first.rows, first.summary["done_now"]) == (2, 2)
    before = make.files_of(Path(lake.root, "tables", "audio_fingerprints"))
    assert not make_fingerprints(entry, lake).recomputed
    lake.filesystem.rm(lake.full_path("manifests/audio_fingerprints/a.json"))
    again = make_fingerprints(entry, lake)
    assert (again.rows, again.summary["done_now"]) == (2, 0)
    assert make.files_of(Path(lake.root, "tables", "audio_fingerprints")) == before
    assert lake.list_files("work/audio_fingerprints/a") == []


def test_a_pass_that_was_killed_leaves_the_same_table_in_the_end(tmp_path, make, two_corpora, monkeypatch):
    lake = Lake(str(tmp_path / "lake"))
    entry = two_corpora[0]
    make.run_all(entry, lake)
    make_fingerprints(entry, lake)
    table = Path(lake.root, "tables", "audio_fingerprints", "a.parquet")
    whole = table.read_bytes()
    lake.filesystem.rm(lake.full_path("manifests/audio_fingerprints/a.json"))
    table.unlink()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("assets.audio.fingerprints.write_batches", killed)
        with pytest.raises(KeyboardInterrupt):
            make_fingerprints(entry, lake)
    assert len(lake.list_files("work/audio_fingerprints/a")) == 1
    assert make_fingerprints(entry, lake).summary["done_now"] == 0
    assert table.read_bytes() == whole


def test_held_out_speakers_are_those_of_rules_on_the_speaker(tmp_path, make):
    entry = make.ljspeech(tmp_path / "c", [("one", "words"), ("two", "more words")])
    lake = Lake(str(tmp_path / "lake"))
    make.run_all(entry, lake)
    rule = {"by": "field", "field": "speaker", "values": ["LJ", "other"]}
    with_rule = type(entry).model_validate({**entry.model_dump(mode="json"), "options": {}, "split": [rule]})
    assert held_out_speakers(lake, entry) == []
    assert held_out_speakers(lake, with_rule) == ["LJ"]


@pytest.mark.parametrize(
    ("evaluation", "told"),
    [
        ({"sets": [{"name": "x", "corpora": ["none"]}]}, "no corpus 'none'"),
        ({"sets": [{"name": "x", "rules": {"audio": "drop"}}]}, "sets.0.rules.audio"),
        ({"set": []}, "allowed keys are sets, mixtures"),
    ],
)
def test_a_faulty_declaration_is_named(tmp_path, make, evaluation, told):
    entry = make.ljspeech(tmp_path / "c", [("one", "words")])
    with pytest.raises(CorporaFileError, match="evaluation: ") as refused:
        load_corpora(corpora_file(tmp_path, [entry], evaluation=evaluation))
    assert told in str(refused.value)


def test_mixtures_are_found_beside_the_corpora_file(tmp_path, make):
    entry = make.ljspeech(tmp_path / "c", [("one", "words")])
    path = corpora_file(tmp_path, [entry], evaluation={"mixtures": ["stage1.yaml"]})
    assert load_corpora(path).evaluation.mixtures == (tmp_path / "stage1.yaml",)
