"""What is forgotten is nowhere any more, does not come back, and costs nobody else anything."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile as sf
from forgetting import ANN, apply, holds, prepare, table_corpus

from assets.workspace import Workspace
from pipelines.forgetting import opened
from validation.batches import database
from validation.budget import Budget, overruns
from validation.errors import UserError
from validation.forget import NothingToForgetError
from validation.forget_purge import stored_corpora, unused_audio
from validation.forgotten import Selector
from validation.ledger import balance
from validation.schemas import frame_from_rows


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def workspace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.delenv("VOXLINE_LAKE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Workspace(home=str(home))


def test_nothing_of_a_forgotten_speaker_is_left_and_the_ledger_balances(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    stored = lake.read_table("audio_22k", "made").filter(pl.col("utterance_id").str.contains("zebediah"))
    needles = ["zebediah", "quincunx", "ochre", *stored["audio_digest"]]
    assert len(needles) == 5
    assert holds(Path(lake.root), *needles)
    apply(workspace, ANN)
    # At once, and without the corpus' root.
    assert holds(Path(lake.root), *needles) == []
    prepare(entry, lake, make)
    assert holds(Path(lake.root), *needles) == []
    found = balance(lake, "made")
    assert found.holds
    assert (found.read, found.accepted, found.rejected) == (4, 2, 2)
    ledger = lake.read_table("ledger").filter(pl.col("reason") == "forgotten")
    assert ledger["outcome"].to_list() == ["rejected"] * 2
    assert all(name.startswith("forgotten:") for name in ledger["utterance_id"])
    assert lake.read_table("training_rows", "made")["speaker"].unique().to_list() == ["ben"]
    (request,) = lake.read_table("forgotten").filter(pl.col("corpus").is_null(), kind="speaker").to_dicts()
    assert (request["by"], request["why"], request["rows"]) == ("tester", "asked by letter", 2)


def test_a_forgotten_speaker_does_not_come_back_with_new_files_or_under_new_names(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    apply(workspace, ANN)
    make.speech(tmp_path / "c" / "audio" / "new.wav", seed=77)
    shutil.copy(tmp_path / "c" / "audio" / "zebediah" / "a1.wav", tmp_path / "c" / "audio" / "copy.wav")
    with (tmp_path / "c" / "rows.csv").open("a") as table:
        table.write("audio/new.wav,new words,zebediah\naudio/copy.wav,innocent words,carl\n")
    prepare(entry, lake, make)
    ended = lake.read_table("ledger").filter(pl.col("reason") == "forgotten")
    assert ended.height == 4
    assert balance(lake, "made").holds
    assert holds(Path(lake.root), "zebediah", "new words", "innocent", "copy.wav") == []


def test_what_was_made_of_others_with_it_in_the_background_goes_too(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    rows = {row["speaker"]: row for row in lake.read_table("accepted_utterances", "made").to_dicts()}
    ours, theirs = rows["ben"], rows["zebediah"]
    variant = {
        "corpus": "made",
        "row_id": "r~1",
        "original": "r",
        "copy_number": 1,
        "marker": 0,
        "utterance_id": ours["utterance_id"],
        "audio_digest": ours["audio_digest"],
        "augmentation_digest": "e" * 64,
        "augmentation": json.dumps({"noise": {"audio_digest": theirs["audio_digest"]}}),
        "seed": 0,
        "original_s": 1.0,
        "duration_s": 1.0,
    }
    quiet = {**variant, "row_id": "r~2", "augmentation_digest": "f" * 64, "augmentation": "{}"}
    lake.write_table("augmentations", "made", frame_from_rows("augmentations", [variant, quiet]))
    tokens = lake.read_table("audio_tokens", "made")
    more = [
        {**row, "augmentation_digest": one["augmentation_digest"]}
        for row in tokens.filter(audio_digest=ours["audio_digest"]).to_dicts()
        for one in (variant, quiet)
    ]
    lake.write_table("audio_tokens", "made", pl.concat([tokens, frame_from_rows("audio_tokens", more)]))
    apply(workspace, ANN)
    left = lake.read_table("audio_tokens", "made").filter(audio_digest=ours["audio_digest"])
    assert set(left["augmentation_digest"]) == {"", "f" * 64}


def test_failures_of_tables_over_all_corpora_are_not_kept_and_others_corpora_are(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    partitions = ("leakage--held_out", "audio_22k--made", "ledger--made--audio_22k", "audio_22k--made_two")
    for partition in partitions:
        lake.write_table("contract_failures", partition, frame_from_rows("contract_failures", []))
    apply(workspace, ANN)
    assert [Path(path).stem for path in lake.list_files("tables/contract_failures")] == [
        "audio_22k--made_two"
    ]


def test_a_listing_names_every_holder_and_changes_nothing(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    before = make.files_of(Path(lake.root))
    with opened(workspace, ANN, with_copies=False) as request:
        assert request.rows == {"made": 2}
        kinds = {}
        for one in request.holdings():
            kinds.setdefault(one.kind, []).append(one)
    counts = {kind: len(found) for kind, found in kinds.items()}
    assert counts == {
        "row": 2,
        "stored_audio": 2,
        "raw_utterances": 2,
        "audio_22k": 2,
        "audio_quality": 2,
        "accepted_utterances": 2,
        "ledger": 2,
        "jsonl_line": 4,
        "training_rows": 4,
        "audio_fingerprints": 2,
        "audio_tokens": 2,
    }
    assert {one.place for one in kinds["jsonl_line"]} == {f"jsonl/made/train.jsonl:{n}" for n in range(1, 5)}
    assert make.files_of(Path(lake.root)) == before


def test_audio_that_another_row_has_too_stays_and_is_named(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    shutil.copy(tmp_path / "c/audio/zebediah/a1.wav", tmp_path / "c/audio/ben/b1.wav")
    prepare(entry, lake, make)
    with opened(workspace, ANN, with_copies=False) as request:
        shared = [one for one in request.holdings() if one.kind == "shared_audio"]
        stays = [one for one in request.holdings() if one.kind == "stored_audio" and one.note]
    assert [one.what for one in shared] == ["audio/ben/b1.wav"]
    assert len(stays) == 1
    apply(workspace, ANN)
    prepare(entry, lake, make)
    assert lake.read_table("training_rows", "made")["speaker"].unique().to_list() == ["ben"]
    assert lake.exists(stays[0].place)
    assert balance(lake, "made").accepted == 2


def test_copies_go_along_where_they_are_asked_for(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    shutil.copy(tmp_path / "c/audio/zebediah/a1.wav", tmp_path / "c/audio/ben/b1.wav")
    prepare(entry, lake, make)
    apply(workspace, ANN, copies=True)
    prepare(entry, lake, make)
    found = balance(lake, "made")
    assert (found.accepted, found.rejected, found.holds) == (1, 3, True)


@pytest.mark.parametrize("kind", ["file", "utterance"])
def test_files_and_utterances_are_forgotten_too(tmp_path, make, workspace, kind):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    apply(workspace, Selector(kind, "audio/zebediah/a1.wav", "made"))
    prepare(entry, lake, make)
    assert balance(lake, "made").holds
    assert balance(lake, "made").accepted == 3
    assert holds(Path(lake.root), "a1.wav", "quincunx") == []


def test_a_licence_is_forgotten_in_all_corpora_and_no_other_row_is(tmp_path, make, workspace):
    lake = workspace.lake
    ours = table_corpus(tmp_path / "c", make)
    theirs = table_corpus(tmp_path / "d", make, name="other", licence="CC-BY-NC-4.0")
    for entry in (ours, theirs):
        prepare(entry, lake, make)
    apply(workspace, Selector("licence", "CC-BY-NC-4.0"))
    for entry in (ours, theirs):
        prepare(entry, lake, make)
    assert [balance(lake, name).accepted for name in ("made", "other")] == [4, 0]
    assert balance(lake, "other").holds


def test_all_of_a_conversation_goes_with_one_of_its_voices(tmp_path, make, workspace):
    talk = [{"role": "user", "content": "<|audio|>"}, {"role": "assistant", "content": "quincunx\n<|audio|>"}]
    rows = [
        {"id": "talk", "messages": talk, "audios": ["q.wav", "a.wav"], "speaker": "ben"},
        {"id": "rest", "messages": talk, "audios": ["x.wav", "y.wav"], "speaker": "ben"},
    ]
    entry, lake = make.jsonl(tmp_path / "c", rows), workspace.lake
    prepare(entry, lake, make)
    apply(workspace, Selector("utterance", "talk#1"))
    prepare(entry, lake, make)
    assert lake.read_table("raw_utterances", "made")["conversation_id"].unique().to_list() == ["rest"]
    assert lake.read_table("training_rows", "made")["row_id"].to_list() == ["rest"]


def test_what_nobody_has_is_an_error_and_a_request_made_twice_is_not(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    with pytest.raises(NothingToForgetError, match=r"no row of any corpus .* has the speaker 'nobody'"):
        apply(workspace, Selector("speaker", "nobody"))
    with pytest.raises(UserError, match=r"no such corpus; it has \['made'\]"):
        apply(workspace, Selector("speaker", "zebediah", "elsewhere"))
    apply(workspace, ANN)
    first = lake.read_table("forgotten")
    prepare(entry, lake, make)
    with opened(workspace, ANN, with_copies=False) as request:
        assert request.rows == {}
        assert request.asked is not None and request.asked["by"] == "tester"
    apply(workspace, ANN)
    assert lake.read_table("forgotten").equals(first)


def test_stored_audio_of_files_that_are_gone_is_found(tmp_path, make, workspace):
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    stored = lake.read_table("audio_22k", "made").filter(pl.col("utterance_id").str.ends_with("b2.wav"))
    lines = (tmp_path / "c" / "rows.csv").read_text().splitlines()
    (tmp_path / "c" / "rows.csv").write_text("\n".join(lines[:-1]) + "\n")
    (tmp_path / "c" / "audio" / "ben" / "b2.wav").unlink()
    prepare(entry, lake, make)
    assert stored_corpora(lake) == ["made"]
    with database(lake) as connection:
        unused = list(unused_audio(connection, lake, ["made"]))
    assert [path for path, _ in unused] == stored["audio_path"].to_list()
    assert unused[0][1] == lake.size(unused[0][0])


def test_a_channel_that_is_a_row_of_its_own_is_forgotten_by_itself_and_with_its_recording(
    tmp_path, make, workspace
):
    voices = np.stack([make.speech_like(1.0, 16_000, seed) for seed in (1, 2)], axis=1)
    for name in ("x", "y"):
        (tmp_path / "c").mkdir(exist_ok=True)
        sf.write(tmp_path / "c" / f"{name}.wav", voices if name == "x" else voices[:, ::-1] * 0.7, 16_000)
    options, lake = {"options": {"purpose": "tokenizer"}, "audio": {"channels": "split"}}, workspace.lake
    entry = make.entry("untranscribed", tmp_path / "c", **options)
    make.run_all(entry, lake)
    ids = lake.read_table("raw_utterances", "made").filter(pl.col("parent_id") == "x.wav")["utterance_id"]
    assert ids.len() == 2
    apply(workspace, Selector("utterance", ids[0]))
    make.run_all(entry, lake)
    left = lake.read_table("raw_utterances", "made")["utterance_id"].to_list()
    assert ids[0] not in left and ids[1] in left and len(left) == 3
    assert balance(lake, "made").holds
    apply(workspace, Selector("utterance", "y.wav"))
    make.run_all(entry, lake)
    assert lake.read_table("raw_utterances", "made")["utterance_id"].to_list() == [ids[1]]
    assert balance(lake, "made").holds
    assert holds(Path(lake.root), "y.wav") == []


def test_what_was_asked_for_is_not_lost(tmp_path, make, workspace):
    """Neither a corpus' budget nor its drift of reasons may stop a run because somebody was forgotten."""
    entry, lake = table_corpus(tmp_path / "c", make), workspace.lake
    prepare(entry, lake, make)
    apply(workspace, Selector("licence", entry.licence))
    prepare(entry, lake, make)
    assert balance(lake, "made").rejected == 4
    assert overruns(lake, "made", Budget(lost=0.0, rejected=0.0, at_least=0)) == []
