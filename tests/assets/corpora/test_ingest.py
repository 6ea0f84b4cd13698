"""raw_utterances: one row or one ledger row for each row read, nothing read twice, splits that hold together."""

from __future__ import annotations

import os

import polars as pl
import pytest

from assets.corpora.ingest import ingest
from assets.corpora.root import CorpusRoot
from validation.digests import digest_bytes
from validation.ledger import read_ledger

TALK = [{"role": "user", "content": "<|audio|>"}, {"role": "assistant", "content": "yes\n<|audio|>"}]


def test_rows_have_source_digest_licence_and_split(tmp_path, lake, make):
    made = make.ljspeech(tmp_path / "c", [("a", "one"), ("b", "two")])
    split = [{"by": "field", "field": "utterance_id", "values": ["b"]}]
    outcome = ingest(make.entry("ljspeech", made.root, split=split), lake)
    rows = lake.read_table("raw_utterances", "made").to_dicts()
    assert outcome.summary["read"] == outcome.rows == 2
    assert [(row["utterance_id"], row["split"], row["licence"]) for row in rows] == [
        ("a", "train", "CC0-1.0"),
        ("b", "test", "CC0-1.0"),
    ]
    assert rows[0]["source"] == "metadata.csv:1"
    assert rows[0]["source_digest"] == digest_bytes((tmp_path / "c" / "wavs" / "a.wav").read_bytes())
    assert rows[0]["audio_uri"] == str(tmp_path / "c" / "wavs" / "a.wav")


def test_bad_rows_end_here_and_good_ones_beside_them_go_on(tmp_path, lake, make):
    rows = [
        ("a", "one"),
        ("b", " "),
        ("../out", "four"),
        ("a", "again"),
        ("d", "five"),
    ]
    entry = make.ljspeech(tmp_path / "c", rows)
    (tmp_path / "c" / "wavs" / "d.wav").unlink()
    outcome = ingest(entry, lake)
    ledger = read_ledger(lake, "made")
    assert dict(ledger.select("source", "reason").iter_rows()) == {
        "metadata.csv:2": "empty_text",
        "metadata.csv:3": "outside_root",
        "metadata.csv:4": "duplicate_id",
        "metadata.csv:5": "missing_audio",
    }
    assert lake.read_table("raw_utterances", "made")["utterance_id"].to_list() == ["a"]
    assert outcome.summary["read"] == 5


def test_a_control_token_in_a_transcript_goes_no_further(tmp_path, lake, make):
    make.speech(tmp_path / "c" / "x.wav")
    options = {"pattern": r"(?P<label>x)\.wav", "labels": {"x": "hello <|audio|>"}}
    ingest(make.entry("labelled_names", tmp_path / "c", options=options), lake)
    assert read_ledger(lake, "made")["reason"].to_list() == ["special_token_in_text"]


def test_a_second_run_opens_no_file(tmp_path, lake, make, monkeypatch):
    entry = make.ljspeech(tmp_path / "c", [("a", "one")])
    first = ingest(entry, lake)

    def refuse(*_: object) -> None:
        pytest.fail("a file was opened")

    monkeypatch.setattr(CorpusRoot, "open", refuse)
    second = ingest(entry, lake)
    assert (first.recomputed, second.recomputed) == (True, False)
    assert second.summary == first.summary


def test_a_changed_file_a_changed_entry_and_a_lost_table_are_read_again(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "one")])
    ingest(entry, lake)
    os.utime(tmp_path / "c" / "wavs" / "a.wav", (1, 1))
    assert ingest(entry, lake).recomputed
    assert ingest(make.entry("ljspeech", entry.root, language="de"), lake).recomputed
    lake.remove_table("raw_utterances", "made")
    assert ingest(make.entry("ljspeech", entry.root, language="de"), lake).recomputed


def test_thresholds_do_not_make_the_reading_stale(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "one")])
    ingest(entry, lake)
    assert not ingest(make.entry("ljspeech", entry.root, thresholds={"min_snr_db": 1.0}), lake).recomputed


@pytest.mark.parametrize("field", ["utterance_id", "text", "speaker", "conversation_id"])
def test_a_conversation_is_held_out_as_a_whole(tmp_path, lake, make, field):
    rows = [
        {"messages": TALK, "audios": ["q.wav", "a.wav"], "id": f"talk{n}", "speaker": f"s{n}"}
        for n in range(40)
    ]
    split = [{"by": "hash", "field": field, "fraction": 0.5}]
    ingest(make.jsonl(tmp_path / "c", rows, split=split), lake)
    table = lake.read_table("raw_utterances", "made")
    assert table.group_by("conversation_id").agg(pl.col("split").n_unique())["split"].to_list() == [1] * 40
    if field != "text":  # which all the questions share
        assert table["split"].n_unique() == 2


def test_a_hash_split_moves_nobody_when_data_is_added(tmp_path, lake, make):
    split = [{"by": "hash", "field": "utterance_id", "fraction": 0.3}]
    names = [(f"u{n}", "x") for n in range(60)]
    made = make.ljspeech(tmp_path / "c", names[:40])
    entry = make.entry("ljspeech", made.root, split=split)
    ingest(entry, lake)
    before = dict(lake.read_table("raw_utterances", "made").select("utterance_id", "split").iter_rows())
    make.ljspeech(tmp_path / "c", names)
    ingest(entry, lake)
    after = dict(lake.read_table("raw_utterances", "made").select("utterance_id", "split").iter_rows())
    assert {name: after[name] for name in before} == before
    assert 4 <= sum(value == "test" for value in before.values()) <= 20
