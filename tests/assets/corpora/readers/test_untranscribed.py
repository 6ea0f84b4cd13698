"""Recordings without text: each file is a row, for a stated purpose."""

from __future__ import annotations

import pytest
from pydantic import ValidationError


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


def test_the_purpose_must_be_stated(make, tmp_path):
    with pytest.raises(ValidationError, match=r"purpose.*untranscribed allows pattern, purpose"):
        make.entry("untranscribed", tmp_path)
