"""Recordings without text: each file is a row, for a stated purpose."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from validation.ledger import balance, read_ledger


def test_real_recordings_are_rows_without_text(make, read):
    found = read("untranscribed", make.shared("watson_untranscribed"), purpose="transcription")
    assert len(found.said) == 10
    assert set(found.texts.values()) == {""}
    assert {row.fields["purpose"] for row in found.said.values()} == {"transcription"}


def test_names_say_who_speaks(lay, read):
    root = lay({"1-a.flac": b"", "x.flac": b"", "1-a.wav": b"", "notes.txt": "none"})
    found = read("untranscribed", root, purpose="tokenizer", pattern=r"(?P<speaker>\d+)-.*")
    assert {name: row.speaker for name, row in found.said.items()} == {"1-a.flac": "1", "1-a.wav": "1"}
    assert found.reasons == {"x.flac": "unmatched_name"}


def test_audio_for_a_tokenizer_is_accepted_and_becomes_no_training_row(tmp_path, lake, make):
    make.speech(tmp_path / "c" / "a.wav")
    make.speech(tmp_path / "c" / "b.wav", seed=1)
    entry = make.entry("untranscribed", tmp_path / "c", options={"purpose": "tokenizer"})
    make.run_all(entry, lake)
    assert read_ledger(lake, "made")["reason"].to_list() == ["accepted"] * 2
    assert lake.read_table("accepted_utterances", "made")["tasks"].to_list() == [["audio"]] * 2
    assert lake.read_table("training_rows", "made").is_empty()
    assert balance(lake, "made").holds


def test_speech_that_waits_for_its_text_ends_as_such(tmp_path, lake, make):
    make.speech(tmp_path / "c" / "a.wav")
    entry = make.entry("untranscribed", tmp_path / "c", options={"purpose": "transcription"})
    make.run_all(entry, lake)
    assert read_ledger(lake, "made")["reason"].to_list() == ["empty_text"]


def test_the_purpose_must_be_stated(make, tmp_path):
    with pytest.raises(ValidationError, match=r"purpose.*untranscribed allows pattern, purpose"):
        make.entry("untranscribed", tmp_path)
