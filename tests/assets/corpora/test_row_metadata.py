"""What a corpus states of a row reaches its line's side table, and its own licence comes before the corpus'."""

from __future__ import annotations

import json

import polars as pl
import pytest
from pydantic import ValidationError

from assets.corpora.training_rows import training_rows
from validation.metadata import SCORES
from validation.schemas import polars_schema

TALK = [{"role": "user", "content": "<|audio|>"}, {"role": "assistant", "content": "yes\n<|audio|>"}]


def table(tmp_path, make, **more):
    """Three rows with columns of their own: a subject, a level, terms and votes."""
    lines = ["file,text,subject,level,terms,votes"]
    for seed, (name, rest) in enumerate((("a", "sport,2,CC-BY-4.0,7"), ("b", ",,,"), ("c", "news,hard,,0"))):
        make.speech(tmp_path / "c" / f"{name}.wav", seed=seed)
        lines.append(f"{name}.wav,the words of {name},{rest}")
    (tmp_path / "c" / "rows.csv").write_text("\n".join(lines) + "\n")
    options = {"file": "rows.csv", "audio": "file", "text": "text"}
    options["fields"] = ["subject", "level", "terms", "votes"]
    return make.entry("table", tmp_path / "c", options=options, tasks=["asr"], **more)


def test_fields_of_the_layout_travel_with_the_row_and_its_own_licence_wins(tmp_path, lake, make):
    named = {"topic": "subject", "difficulty": "level", "licence": "terms"}
    entry = table(tmp_path, make, metadata=named, topic="talk", consent="signed", licence="CC0-1.0")
    make.run_all(entry, lake)
    rows = lake.read_table("training_rows", "made").to_dicts()
    columns = ("topic", "difficulty", "licences", "consents", "metadata")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        (
            "sport",
            "2",
            ["CC-BY-4.0"],
            ["signed"],
            '{"level":"2","subject":"sport","terms":"CC-BY-4.0","votes":"7"}',
        ),
        ("talk", None, ["CC0-1.0"], ["signed"], None),
        ("news", "hard", ["CC0-1.0"], ["signed"], '{"level":"hard","subject":"news","votes":"0"}'),
    ]
    raw = lake.read_table("raw_utterances", "made")
    assert raw["licence"].to_list() == ["CC-BY-4.0", "CC0-1.0", "CC0-1.0"]


def test_measures_of_the_sound_travel_with_the_row(tmp_path, lake, make):
    make.run_all(table(tmp_path, make), lake)
    measured = lake.read_table("audio_quality", "made").select("utterance_id", *SCORES).to_dicts()
    rows = lake.read_table("training_rows", "made").to_dicts()
    assert [{name: row[name] for name in SCORES} for row in rows] == [
        {name: row[name] for name in SCORES} for row in measured
    ]
    assert all(row["snr_db"] is not None and row["mos"] is None for row in rows)


def test_a_field_that_the_reader_does_not_give_is_refused_with_those_that_it_gives(tmp_path, make):
    with pytest.raises(
        ValidationError, match=r"metadata.topic: unknown field 'theme'; table gives level, subject"
    ):
        table(tmp_path, make, metadata={"topic": "theme"})
    with pytest.raises(ValidationError, match="gives none"):
        make.entry("ljspeech", tmp_path, metadata={"topic": "theme"})


def test_lines_of_json_state_their_own(tmp_path, lake, make):
    stated = {"topic": "food", "difficulty": 3, "licence": "MIT", "consent": "yes", "metadata": {"age": 30}}
    rows = [
        {"id": "talk", "messages": TALK, "audios": ["q.wav", "a.wav"], "speaker": "ann", **stated},
        {"id": "bad", "messages": TALK, "audios": ["q.wav", "a.wav"], "metadata": {"age": [1]}},
    ]
    make.run_all(make.jsonl(tmp_path / "c", rows), lake)
    (row,) = lake.read_table("training_rows", "made").to_dicts()
    assert (row["topic"], row["difficulty"], row["licences"], row["consents"]) == (
        "food",
        "3",
        ["MIT"],
        ["yes"],
    )
    assert json.loads(row["metadata"])["age"] == "30"
    assert row["speakers"] == ["ann"]
    measured = lake.read_table("audio_quality", "made")
    assert row["snr_db"] == measured["snr_db"].min()
    assert row["silence_share"] == measured["silence_share"].max()
    (ended,) = lake.read_table("ledger").filter(pl.col("outcome") == "errored").to_dicts()
    assert "metadata must be an object of texts and numbers" in ended["detail"]


def accepted(numbers: list[tuple[str, str | None, int | None]]) -> pl.DataFrame:
    """Rows of ``accepted_utterances``: id, conversation and marker of each."""
    frame = pl.DataFrame(
        {
            "utterance_id": [name for name, _, _ in numbers],
            "source": [f"rows:{talk or name}" for name, talk, _ in numbers],
            "conversation_id": [talk for _, talk, _ in numbers],
            "marker": [marker for _, _, marker in numbers],
            "speaker": [("ann", "ben", "")[(marker or 0) % 3] for _, _, marker in numbers],
            "messages": [None if talk is None else json.dumps(TALK) for _, talk, _ in numbers],
            "tasks": [["asr", "tts"] if talk is None else ["conversation"] for _, talk, _ in numbers],
        }
    )
    fixed = {"corpus": "c", "split": "train", "text": 'say "x"', "language": "en", "licence": "CC0"}
    audio = {"audio_path": "a.wav", "audio_digest": "d", "duration_s": 0.1, "snr_db": 3.0}
    frame = frame.with_columns(pl.lit(value).alias(name) for name, value in {**fixed, **audio}.items())
    schema = polars_schema("accepted_utterances")
    missing = [pl.lit(None, kind).alias(name) for name, kind in schema.items() if name not in frame.columns]
    return frame.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in schema.items())


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_conversations_are_whole_wherever_a_batch_ends(size):
    rows = accepted(
        [
            ("a", None, None),
            ("t#1", "t", 1),
            ("t#0", "t", 0),
            ("u#0", "u", 0),
            ("u#1", "u", 1),
            ("b", None, None),
        ]
    )
    made = pl.concat(training_rows(rows.iter_slices(size), "/lake"))
    assert made["row_id"].to_list() == ["a:asr", "a:tts", "t", "u", "b:asr", "b:tts"]
    assert made["utterance_ids"].to_list()[2:4] == [["t#0", "t#1"], ["u#0", "u#1"]]
    assert made["speakers"].to_list() == [["ann"]] * 2 + [["ann", "ben"]] * 2 + [["ann"]] * 2
    assert made["task"].to_list()[2] == "conversation"
    assert json.loads(made["messages"][0])[1]["content"] == 'say "x"'
