"""raw_utterances: one row or one ledger row for each row read, nothing read twice, splits that hold together."""

from __future__ import annotations

import json
import os

import polars as pl
import pytest

from assets.corpora.ingest import ingest
from assets.corpora.root import CorpusRoot
from validation.digests import digest_bytes
from validation.errors import UserError
from validation.forgotten import Entry, Selector, key_of, write_request
from validation.lake import Lake
from validation.ledger import balance, read_ledger

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


LONG_NAME = "x" * 300  # no file system takes it


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (json.dumps({"messages": TALK, "audios": [f"{LONG_NAME}.wav", "a.wav"]}), "missing_audio"),
        (json.dumps({"messages": TALK, "audios": ["circle.wav", "a.wav"]}), "missing_audio"),
        (json.dumps({"messages": TALK, "audios": ["gone.wav", "a.wav"]}), "missing_audio"),
        (json.dumps({"messages": TALK, "audios": ["q\0.wav", "a.wav"]}), "outside_root"),
        ('{"messages":[{"role":"assistant","content":"\\ud800"}]}', "malformed_row"),
        ('{"messages":[{"role":"assistant","content":"x"}],"id":"\\udfff"}', "malformed_row"),
        ('{"messages":[{"role":"assistant","content":"x"}],"id":' + "9" * 5_000 + "}", "malformed_row"),
        ('{"messages":' + "[" * 100_000 + "]" * 100_000 + "}", "malformed_row"),
    ],
)
def test_one_bad_line_does_not_fail_its_corpus(tmp_path, lake, make, line, reason):
    entry = make.jsonl(tmp_path / "c", [{"id": "good", "messages": TALK, "audios": ["q.wav", "a.wav"]}])
    for name, target in (("gone.wav", "nothing"), ("circle.wav", "circle.wav")):
        (tmp_path / "c" / name).symlink_to(tmp_path / "c" / target)
    with (tmp_path / "c" / "rows.jsonl").open("a") as stream:
        stream.write(line + "\n")
    make.run_all(entry, lake)
    ended = read_ledger(lake, "made").select("source", "reason").rows()
    assert ended[0] == ("rows.jsonl:2", reason)
    assert ended.count(("rows.jsonl:1", "accepted")) == 2
    assert balance(lake, "made").holds


def test_an_id_longer_than_a_file_name_is_a_row_without_audio(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "one")])
    with (tmp_path / "c" / "metadata.csv").open("a") as stream:
        stream.write(f"{LONG_NAME}|two|two\n")
    ingest(entry, lake)
    assert read_ledger(lake, "made").select("source", "reason").rows() == [
        ("metadata.csv:2", "missing_audio")
    ]


def test_names_that_are_no_text_are_rows_of_the_ledger(tmp_path, lake, make):
    make.speech(tmp_path / "c" / "good.wav")
    os.close(os.open(os.fsencode(tmp_path / "c") + b"/\xff.wav", os.O_CREAT))
    entry = make.entry("labelled_names", tmp_path / "c", options={"pattern": r"(?P<label>.+)\.wav"})
    ingest(entry, lake)
    assert read_ledger(lake, "made").select("utterance_id", "reason").rows() == [("\\udcff.wav", "not_utf8")]
    assert not ingest(entry, lake).recomputed


def text_row(row_id: str) -> dict[str, object]:
    return {"id": row_id, "messages": [{"role": "assistant", "content": "four"}]}


@pytest.mark.parametrize(
    "rows",
    [
        [{"id": "talk", "messages": TALK[::-1][:1], "audios": ["b.wav"]}, {"id": "talk", "messages": TALK}],
        [{"id": "talk", "messages": TALK}, {"id": "talk", "messages": TALK[::-1][:1], "audios": ["b.wav"]}],
        [text_row("talk"), {"id": "talk", "messages": TALK}],
        [{"id": "talk", "messages": TALK}, text_row("talk")],
        [text_row("talk#0"), {"id": "talk", "messages": TALK}],
    ],
    ids=["one audio first", "two audios first", "text first", "text second", "text like an audio"],
)
def test_lines_of_one_id_never_become_one_training_row(tmp_path, lake, make, rows):
    for row in rows:
        if "<|audio|>" in json.dumps(row):
            row.setdefault("audios", ["q.wav", "a.wav"])
    make.run_all(make.jsonl(tmp_path / "c", rows), lake)
    ledger = read_ledger(lake, "made")
    assert set(ledger.filter(source="rows.jsonl:1")["reason"]) == {"accepted"}
    assert "accepted" not in set(ledger.filter(source="rows.jsonl:2")["reason"])
    assert "duplicate_id" in set(ledger.filter(source="rows.jsonl:2")["reason"])
    (row,) = lake.read_table("training_rows", "made").iter_rows(named=True)
    assert json.loads(row["messages"]) == rows[0]["messages"]
    assert len(row["audios"]) == len(rows[0].get("audios", []))
    assert balance(lake, "made").holds


@pytest.mark.parametrize(
    ("reader", "options", "wanted"),
    [
        ("librispeech", {}, r"<subset>/<speaker>/<chapter>/\*\.trans\.txt"),
        ("jsonl", {"files": "train/*.jsonl"}, r"lines of files 'train/\*\.jsonl'"),
    ],
)
def test_a_corpus_in_which_the_reader_finds_nothing_is_refused(tmp_path, lake, make, reader, options, wanted):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "README.txt").write_text("Here be speech.")
    with pytest.raises(UserError, match=rf"{tmp_path}/c: reader {reader} finds no row; wanted are {wanted}"):
        ingest(make.entry(reader, tmp_path / "c", options=options), lake)
    (tmp_path / "c" / "disk").symlink_to(tmp_path)
    with pytest.raises(UserError, match=r"finds no row.*disk: is a link to the folder"):
        ingest(make.entry(reader, tmp_path / "c", options=options), lake)


def test_linked_folders_and_links_to_nothing_are_rows_of_the_ledger(tmp_path, lake, make):
    make.speech(tmp_path / "c" / "good.wav")
    (tmp_path / "c" / "gone.wav").symlink_to(tmp_path / "c" / "nothing")
    (tmp_path / "c" / "disk").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    entry = make.entry("labelled_names", tmp_path / "c", options={"pattern": r"(?P<label>[a-z]+)\.wav"})
    assert ingest(entry, lake).summary["read"] == 3
    assert dict(read_ledger(lake, "made").select("source", "reason").iter_rows()) == {
        "gone.wav": "missing_audio",
        "disk": "outside_root",
    }


def test_a_file_that_could_not_be_read_is_tried_again_and_no_other(tmp_path, lake, make, monkeypatch):
    entry = make.ljspeech(tmp_path / "c", [("a", "one"), ("b", "two")])
    opened: list[str] = []
    really = CorpusRoot.open

    def count(root: CorpusRoot, name: str):
        opened.append(name)
        return really(root, name)

    def fail_at_b(root: CorpusRoot, name: str):
        if name == "wavs/b.wav":
            raise OSError(5, "Input/output error")
        return really(root, name)

    monkeypatch.setattr(CorpusRoot, "open", fail_at_b)
    ingest(entry, lake)
    assert read_ledger(lake, "made").select("utterance_id", "reason").rows() == [("b", "unreadable")]
    monkeypatch.setattr(CorpusRoot, "open", count)
    assert ingest(entry, lake).rows == 2
    assert opened == ["metadata.csv", "wavs/b.wav"]
    assert not ingest(entry, lake).recomputed


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


def test_a_link_to_a_name_that_is_not_utf8_ends_its_own_row_only(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "one"), ("b", "two")])
    outside = tmp_path / os.fsdecode(b"\xff.wav")
    outside.write_bytes(b"not looked at")
    (tmp_path / "c" / "wavs" / "a.wav").unlink()
    (tmp_path / "c" / "wavs" / "a.wav").symlink_to(outside)
    ingest(entry, lake)
    (row,) = read_ledger(lake, "made").to_dicts()
    assert (row["utterance_id"], row["reason"]) == ("a", "outside_root")
    assert "\\udcff.wav" in row["detail"]


def forget_of(lake: Lake, kind: str, *parts: object) -> None:
    entry = Entry(kind, "made", key_of(kind, *parts), 1)
    write_request(lake, Selector("utterance", "something"), [entry], "tester", "")


@pytest.mark.parametrize("batch", [1, 2, 3, 4096])
@pytest.mark.parametrize("named", ["file", "content"])
def test_all_of_a_conversation_is_forgotten_however_it_is_batched(
    tmp_path, lake, make, monkeypatch, batch, named
):
    monkeypatch.setattr("assets.corpora.ingest._BATCH", batch)
    root = tmp_path / "c"
    files = [make.speech(root / f"{name}.wav", seed=seed) for seed, name in enumerate("zqax")]
    alone = [TALK[0], {"role": "assistant", "content": "so"}]
    lines = [
        {"id": "before", "messages": alone, "audios": ["z.wav"]},
        {"id": "secret", "messages": TALK, "audios": ["q.wav", "a.wav"]},
        {"id": "after", "messages": alone, "audios": ["x.wav"]},
    ]
    (root / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    if named == "file":
        forget_of(lake, "file", str(root / "a.wav"))
    else:
        forget_of(lake, "content", digest_bytes(files[2].read_bytes()), 0.0, None, None)
    ingest(make.entry("jsonl", root), lake)
    assert lake.read_table("raw_utterances", "made")["utterance_id"].to_list() == ["before#0", "after#0"]
    ledger = read_ledger(lake, "made")
    assert ledger["reason"].to_list() == ["forgotten", "forgotten"]
    assert not [row for row in ledger.to_dicts() if "secret" in str(row) or "rows.jsonl" in str(row)]
