"""Datasets on disk, written by Hugging Face's own library: audio in the file or beside it, questions and replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from assets.audio.columns import ColumnFile
from assets.corpora.ingest import ingest
from validation.errors import ConfigurationError
from validation.ledger import balance, read_ledger

datasets.disable_progress_bars()


def dataset(columns: dict[str, list[Any]], *audio: str) -> datasets.Dataset:
    made = datasets.Dataset.from_dict(columns)
    for column in audio:
        made = made.cast_column(column, datasets.Audio(16_000, decode=False))
    return made


def recordings(make: Any, folder: Path, count: int) -> list[dict[str, Any]]:
    files = [make.speech(folder / f"{n}.flac", seed=n) for n in range(count)]
    return [{"bytes": file.read_bytes(), "path": file.name} for file in files]


def librispeech_asr(make: Any, tmp_path: Path, count: int = 3) -> datasets.Dataset:
    columns = {
        "file": [f"{n}.flac" for n in range(count)],
        "audio": recordings(make, tmp_path / "made", count),
        "text": [f"SAID {n}" for n in range(count)],
        "speaker_id": [100 + n for n in range(count)],
        "id": [f"100-1-{n:04}" for n in range(count)],
        "gender": [n % 2 for n in range(count)],
    }
    made = dataset(columns, "audio")
    return made.cast_column("gender", datasets.ClassLabel(names=["male", "female"]))


OPTIONS = {"text": "text", "speaker": "speaker_id", "id": "id", "fields": ["gender"]}


@pytest.mark.parametrize("layout", ["parquet", "save_to_disk", "arrow file"])
def test_audio_in_the_file_is_stored(tmp_path, lake, make, layout):
    made, root = librispeech_asr(make, tmp_path), tmp_path / "c"
    root.mkdir()
    if layout == "parquet":
        made.to_parquet(root / "train.00000.parquet")
    elif layout == "save_to_disk":
        made.save_to_disk(root)
    else:
        table = made.data.table
        with pa.ipc.new_file(root / "train.arrow", table.schema) as writer:
            writer.write_table(table)
    make.run_all(make.entry("huggingface", root, options=OPTIONS), lake)
    assert read_ledger(lake, "made")["reason"].to_list() == ["accepted"] * 3
    rows = lake.read_table("raw_utterances", "made").to_dicts()
    assert [(row["utterance_id"], row["text"], row["speaker"]) for row in rows] == [
        (f"100-1-{n:04}", f"SAID {n}", str(100 + n)) for n in range(3)
    ]
    assert [row["audio_uri"].rpartition("!")[2] for row in rows] == ["audio/0", "audio/1", "audio/2"]
    assert lake.read_table("audio_22k", "made")["source_format"].to_list() == ["FLAC/PCM_16"] * 3
    assert balance(lake, "made").holds
    assert not ingest(make.entry("huggingface", root, options=OPTIONS), lake).recomputed


def test_classes_have_their_names_and_files_are_a_field(tmp_path, make, read, lay):
    root = lay({})
    (root / "data").mkdir(parents=True)
    librispeech_asr(make, tmp_path, 2).to_parquet(root / "data" / "train-00000-of-00001.parquet")
    found = read("huggingface", root, **OPTIONS)
    assert [row.fields["gender"] for row in found.said.values()] == ["male", "female"]
    assert {row.fields["file"] for row in found.said.values()} == {"data/train-00000-of-00001.parquet"}
    assert not read("huggingface", root, **OPTIONS, files="data/test-*").said


def test_questions_and_replies_are_conversations(tmp_path, lake, make):
    columns = {
        "index": [7, 8, 9],
        "question": ["How old are you?", "And now?", "What?"],
        "question_audio": recordings(make, tmp_path / "q", 3),
        "answer": ["Five.", "Six.", ""],
    }
    root = tmp_path / "c"
    root.mkdir()
    dataset(columns, "question_audio").to_parquet(root / "voice.parquet")
    options = {"text": "question", "answer": "answer", "id": "index"}
    make.run_all(make.entry("huggingface", root, options=options), lake)
    rows = lake.read_table("training_rows", "made").to_dicts()
    assert [(row["row_id"], row["task"]) for row in rows] == [("7", "conversation"), ("8", "conversation")]
    assert json.loads(rows[0]["messages"]) == [
        {"role": "user", "content": "<|audio|>"},
        {"role": "assistant", "content": "Five."},
    ]
    ended = read_ledger(lake, "made").filter(reason="malformed_row")
    assert ended["source"].to_list() == ["voice.parquet:2"]
    assert "assistant's, is empty" in ended["detail"][0]


def test_a_reply_that_is_heard_is_an_audio_of_the_row(tmp_path, lake, make):
    both = recordings(make, tmp_path / "q", 4)
    columns = {"q": both[:2], "a": both[2:], "answer": ["Five.", "Six."]}
    root = tmp_path / "c"
    root.mkdir()
    dataset(columns, "q", "a").to_parquet(root / "qa.parquet")
    with pytest.raises(ConfigurationError, match=r"2 columns hold audio: \['q', 'a'\]"):
        ingest(make.entry("huggingface", root, options={"text": "answer"}), lake)
    options = {"audio": "q", "answer": "answer", "answer_audio": "a"}
    make.run_all(make.entry("huggingface", root, options=options), lake)
    rows = lake.read_table("training_rows", "made").to_dicts()
    assert [row["utterance_ids"] for row in rows] == [
        [f"qa.parquet:{n}#0", f"qa.parquet:{n}#1"] for n in (0, 1)
    ]
    assert json.loads(rows[0]["messages"])[1]["content"] == "Five.\n<|audio|>"
    assert len(set(lake.read_table("audio_22k", "made")["audio_digest"])) == 4


def test_paths_are_files_below_the_root_and_nulls_are_told(tmp_path, make, read, lay):
    root = lay({"data/wavs/a.wav": b"", "data/wavs/b.wav": b"", "left.wav": b""})
    columns = {
        "audio": [
            {"bytes": None, "path": "wavs/a.wav"},
            {"bytes": None, "path": "/old/data/wavs/b.wav"},
            {"bytes": b"x", "path": None},
            {"bytes": None, "path": None},
            None,
        ],
        "text": ["a", "b", "c", "d", "e"],
    }
    table = pa.table(
        {
            "audio": pa.array(columns["audio"], pa.struct({"bytes": pa.binary(), "path": pa.string()})),
            "text": columns["text"],
        }
    )
    pq.write_table(table, root / "data" / "x.parquet")
    found = read("huggingface", root, text="text", strip_prefix="/old/")
    assert {name: row.audio for name, row in found.said.items()} == {
        "data/x.parquet:0": "data/wavs/a.wav",
        "data/x.parquet:1": "data/wavs/b.wav",
        "data/x.parquet:2": "data/x.parquet!audio/2",
    }
    assert found.reasons == {
        "data/x.parquet:3": "missing_audio",
        "data/x.parquet:4": "missing_audio",
        "left.wav": "no_transcript",
    }
    paths = pa.table({"file": ["wavs/a.wav"], "text": ["a"]})
    pq.write_table(paths, root / "data" / "x.parquet")
    found = read("huggingface", root, text="text", audio="file", unlisted="ignore")
    assert [row.audio for row in found.said.values()] == ["data/wavs/a.wav"]


def test_faulty_files_and_cells_have_reasons(tmp_path, make, read, lay):
    root = lay({"a.parquet": b"PAR1 nothing PAR1", "b.arrow": b"\xff\xff\xff\xffnothing", "c.parquet": b""})
    audio = pa.array([b"x"] * 3, pa.binary())
    pq.write_table(pa.table({"audio": audio}), root / "d.parquet")
    pq.write_table(pa.table({"audio": audio, "text": [["x"], None, []]}), root / "e.parquet")
    found = read("huggingface", root, text="text")
    assert {
        source: reason for source, reason in found.reasons.items() if source[0] in "abc"
    } == dict.fromkeys(["a.parquet", "b.arrow", "c.parquet"], "decode_error")
    assert found.reasons["d.parquet"] == "malformed_row"
    assert "lacks the columns ['text']" in found.problems["d.parquet"].detail
    assert [found.reasons[f"e.parquet:{row}"] for row in (0, 2)] == ["malformed_row"] * 2
    assert found.texts == {"e.parquet:1": ""}


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_damaged_file_is_told_and_stops_nothing(tmp_path, lake, make, kind):
    made, root = librispeech_asr(make, tmp_path, 6), tmp_path / "c"
    root.mkdir()
    made.select(range(3)).to_parquet(root / "good.parquet")
    if kind == "parquet":
        made.select(range(3, 6)).to_parquet(root / "bad.parquet")
    else:
        made.select(range(3, 6)).save_to_disk(tmp_path / "disk")
        (tmp_path / "disk" / "data-00000-of-00001.arrow").rename(root / "bad.arrow")
    (bad,) = root.glob("bad.*")
    data = bytearray(bad.read_bytes())
    middle = len(data) // 2
    bad.write_bytes(data[:middle] + bytes(len(data) - middle - 8) + data[-8:])
    make.run_all(make.entry("huggingface", root, options=OPTIONS), lake)
    ledger = read_ledger(lake, "made")
    told = ledger.filter(ledger["outcome"] != "accepted")
    assert ledger.filter(outcome="accepted").height == 3
    assert told.height and told["source"].str.starts_with("bad.").all()
    assert set(told["outcome"]) == {"errored"}
    assert balance(lake, "made").holds


def test_options_that_cannot_be_meant_are_refused(make, tmp_path):
    for options in ({}, {"text": "t", "answer_audio": "a"}, {"text": "t", "fields": ["speaker"]}):
        with pytest.raises(ValidationError):
            make.entry("huggingface", tmp_path, options=options)


@pytest.mark.parametrize("groups", [7, 1000])
def test_rows_are_found_in_any_order(tmp_path, groups):
    path = tmp_path / "x.parquet"
    values = [bytes([n]) * (n + 1) for n in range(100)]
    pq.write_table(pa.table({"audio": pa.array(values, pa.binary())}), path, row_group_size=groups)
    with path.open("rb") as stream:
        file = ColumnFile(stream)
        for row in (0, 1, 50, 99, 3, 98, 17):
            assert file.value("audio", row) == values[row]
        assert [value for _, value in file.values("audio")] == values


def test_text_that_is_not_utf8_ends_its_own_row_only(tmp_path, make, read):
    root = tmp_path / "c"
    root.mkdir()
    whole = pa.array([b"good", b"ba\xffd", b"fine"]).buffers()
    table = pa.table(
        {
            "audio": pa.array(recordings(make, tmp_path / "made", 3), datasets.Audio().pa_type),
            "text": pa.Array.from_buffers(pa.string(), 3, [None, *whole[1:]]),
        }
    )
    pq.write_table(table, root / "x.parquet")
    found = read("huggingface", root, text="text")
    assert [row.text for row in found.said.values()] == ["good", "fine"]
    assert found.reasons == {"x.parquet:1": "not_utf8"}
    assert "'text'" in found.problems["x.parquet:1"].detail


def test_what_the_library_keeps_for_itself_beside_a_dataset_is_no_row_of_it(tmp_path, make, read):
    librispeech_asr(make, tmp_path).save_to_disk(tmp_path / "c")
    before = read("huggingface", tmp_path / "c", **OPTIONS)
    saved = datasets.load_from_disk(str(tmp_path / "c"))
    saved.map(lambda rows: {"text": [text.lower() for text in rows["text"]]}, batched=True)
    saved.filter(lambda rows: [True, False, True], batched=True)
    left = [path.name for path in (tmp_path / "c").glob("cache-*.arrow")]
    assert len(left) == 2
    assert read("huggingface", tmp_path / "c", **OPTIONS).said == before.said
