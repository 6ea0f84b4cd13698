"""training_jsonl: exactly the rows of DESIGN §4, the same bytes every time, readable by our own reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assets.corpora.conversation import asr_messages, spoken_texts, task_of, tts_messages
from assets.corpora.training_jsonl import build_jsonl
from validation.ledger import balance

TALK = [{"role": "user", "content": "<|audio|>"}, {"role": "assistant", "content": "yes\n<|audio|>"}]


def test_lines_are_exactly_the_rows_of_the_design(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", 'Grüße, "你好"')])
    make.run_all(entry, lake)
    path = Path(lake.uri(lake.read_table("audio_22k", "made")["audio_path"][0]))
    assert path.is_absolute() and path.is_file()
    assert Path(lake.uri("jsonl/made/train.jsonl")).read_text(encoding="utf-8").splitlines() == [
        '{"messages":[{"role":"user","content":"Convert the speech to text.\\n<|audio|>"},'
        '{"role":"assistant","content":"Grüße, \\"你好\\""}],"audios":["' + str(path) + '"]}',
        '{"messages":[{"role":"user","content":"Convert the text to speech.\\nGrüße, \\"你好\\""},'
        '{"role":"assistant","content":"<|audio|>"}],"audios":["' + str(path) + '"]}',
    ]
    assert Path(lake.uri("jsonl/made/test.jsonl")).read_bytes() == b""


def test_the_side_table_says_where_each_line_is_from(tmp_path, lake, make):
    rows = [
        {"id": "talk", "messages": TALK, "audios": ["q.wav", "a.wav"], "speaker": "ann"},
        {
            "id": "sum",
            "messages": [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}],
        },
    ]
    make.run_all(make.jsonl(tmp_path / "c", rows), lake)
    talk, text = lake.read_table("training_rows", "made").to_dicts()
    assert (talk["row_id"], talk["task"], talk["speaker"], talk["line"]) == ("talk", "conversation", "ann", 1)
    assert talk["utterance_ids"] == ["talk#0", "talk#1"]
    assert talk["seconds"] == pytest.approx(2.0, abs=1e-3)
    assert (text["task"], text["audios"], text["line"], text["jsonl_path"]) == (
        "text",
        [],
        2,
        "jsonl/made/train.jsonl",
    )
    lines = Path(lake.uri("jsonl/made/train.jsonl")).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line).get("audios", []) for line in lines] == [talk["audios"], []]
    assert json.loads(lines[0])["messages"] == TALK == json.loads(talk["messages"])


def test_only_the_tasks_asked_for_are_written(tmp_path, lake, make):
    made = make.ljspeech(tmp_path / "c", [("a", "one")])
    make.run_all(make.entry("ljspeech", made.root, tasks=["tts"]), lake)
    assert lake.read_table("training_rows", "made")["task"].to_list() == ["tts"]


def test_a_rerun_in_an_empty_lake_gives_the_same_bytes(tmp_path, lake, make):
    split = [{"by": "field", "field": "utterance_id", "values": ["b"]}]
    made = make.ljspeech(tmp_path / "c", [("a", "one"), ("b", ""), ("b", "two"), ("c", "three")])
    (tmp_path / "c" / "wavs" / "c.wav").write_bytes(b"RIFF")
    entry = make.entry("ljspeech", made.root, split=split)
    first = make.run_all(entry, lake)
    before = make.files_of(Path(lake.root))
    again = make.run_all(entry, lake)
    assert [outcome.recomputed for outcome in first + again] == [True] * 5 + [False] * 5
    assert make.files_of(Path(lake.root)) == before
    for name in before:
        (Path(lake.root) / name).unlink()
    make.run_all(entry, lake, workers=2)
    assert make.files_of(Path(lake.root)) == before


def test_what_is_written_reads_back_as_the_same_rows(tmp_path, lake, make):
    rows = [
        {"id": "talk", "messages": TALK, "audios": ["q.wav", "a.wav"]},
        {"id": "asr", "messages": asr_messages("hello"), "audios": ["q.wav"]},
        {"id": "tts", "messages": tts_messages("hello"), "audios": ["a.wav"]},
        {
            "id": "text",
            "messages": [{"role": "user", "content": "2+2"}, {"role": "assistant", "content": "4"}],
        },
    ]
    split = [{"by": "field", "field": "conversation_id", "values": ["tts"]}]
    make.run_all(make.jsonl(tmp_path / "c", rows, split=split), lake)
    back = make.entry(
        "jsonl",
        lake.root,
        name="back",
        options={"files": "jsonl/made/*.jsonl"},
        split=[{"by": "pattern", "field": "file", "pattern": "test.jsonl$"}],
    )
    make.run_all(back, lake)
    assert balance(lake, "back").holds
    columns = ["split", "task", "messages", "audio_digests"]
    written, read = (lake.read_table("training_rows", name).select(columns) for name in ("made", "back"))
    assert read.sort(columns).equals(written.sort(columns))
    assert sorted(read["task"]) == ["asr", "conversation", "text", "tts"]
    assert build_jsonl(back, lake).recomputed is False


def test_shapes_of_rows_are_told_apart():
    assert task_of(asr_messages("a")) == "asr"
    assert task_of(tts_messages("a")) == "tts"
    assert task_of([{"role": "system", "content": "x"}, *asr_messages("a")]) == "conversation"
    assert spoken_texts(asr_messages("a")) == spoken_texts(tts_messages("a")) == ["a"]
    assert spoken_texts(TALK) == ["", "yes"]
