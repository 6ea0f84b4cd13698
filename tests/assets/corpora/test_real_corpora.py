"""Recorded speech in its real layouts: good recordings pass, and each broken file says what is wrong with it."""

from __future__ import annotations

import csv
import shutil

import pytest

from validation.ledger import balance, read_ledger

REASON_OF = {
    "zero_byte.wav": "empty_file",
    "zero_byte.flac": "empty_file",
    "header_only.wav": "no_frames",
    "pocketsphinx_null.wav": "no_frames",
    "truncated.wav": "truncated",
    "truncated.flac": "truncated",
    "truncated.mp3": "truncated",
    "corrupt_middle.flac": "decode_error",
    "pocketsphinx_bad.wav": "decode_error",
    "pocketsphinx_evil.wav": "decode_error",
    "text_as_wav.wav": "not_audio",
    "html_error_page.mp3": "not_audio",
    "lyra_invalid.wav": "not_audio",
    "mp3_renamed.wav": "wrong_extension",
    "wav_renamed.flac": "wrong_extension",
    "pocketsphinx_awful.wav": "sample_rate",
}


def test_every_broken_file_is_in_the_ledger_and_good_ones_beside_it_pass(tmp_path, lake, make):
    broken = make.shared("broken")
    with (broken / "BROKEN.csv").open(newline="", encoding="utf-8") as stream:
        names = [row["file"] for row in csv.DictReader(stream)]
    assert set(names) == set(REASON_OF)
    root = tmp_path / "c"
    root.mkdir()
    for name in names:
        shutil.copy(broken / name, root / name)
    for seed in range(3):
        make.speech(root / f"good{seed}.wav", seed=seed)
    options = {"pattern": r"(?P<label>[a-z0-9_]+)\.(wav|flac|mp3)"}
    # The made-up texts are file names; their length says nothing.
    limits = {"max_chars_per_second": {"default": 1000.0}}
    make.run_all(make.entry("labelled_names", root, options=options, thresholds=limits), lake, workers=2)
    ledger = read_ledger(lake, "made")
    good = {f"good{seed}.wav": "accepted" for seed in range(3)}
    assert dict(ledger.select("utterance_id", "reason").iter_rows()) == {**REASON_OF, **good}
    assert all(
        row["utterance_id"] in row["detail"]
        for row in ledger.iter_rows(named=True)
        if row["reason"] != "accepted"
    )
    assert balance(lake, "made").holds


def test_broken_metadata_has_a_reason_per_row(lake, make):
    entry = make.entry("ljspeech", make.shared("broken/ljspeech_bad_metadata"))
    make.run_all(entry, lake)
    assert dict(read_ledger(lake, "made").select("source", "reason").iter_rows()) == {
        "metadata.csv:1": "accepted",
        "metadata.csv:2": "empty_text",
        "metadata.csv:3": "wrong_delimiter",
        "metadata.csv:4": "duplicate_id",
        "metadata.csv:5": "missing_audio",
        "metadata.csv:7": "column_count",
    }
    assert balance(lake, "made").holds


@pytest.mark.parametrize(
    ("reader", "folder", "rows"),
    [("librispeech", "librispeech", 61), ("ljspeech", "ljspeech/LJSpeech-1.1", 20)],
)
def test_good_corpora_pass_as_a_whole(lake, make, reader, folder, rows):
    outcomes = make.run_all(make.entry(reader, make.shared(folder)), lake, workers=2)
    assert outcomes[3].summary["outcomes"] == {"accepted": rows}
    assert balance(lake, "made").holds


def test_untranscribed_recordings_are_accounted_for(lake, make):
    make.run_all(make.entry("librispeech", make.shared("librispeech_untranscribed")), lake)
    assert read_ledger(lake, "made")["reason"].to_list() == ["no_transcript"] * 10


@pytest.mark.slow
def test_spoken_digits_pass_as_a_whole(lake, make):
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    pattern = r"(?P<label>\d)_(?P<speaker>[a-z]+)_(?P<take>\d+)\.wav"
    options = {"pattern": pattern, "labels": {str(digit): word for digit, word in enumerate(words)}}
    split = [{"by": "field", "field": "take", "values": ["0", "1", "2", "3", "4"]}]
    entry = make.entry("labelled_names", make.shared("fsdd/recordings"), options=options, split=split)
    outcomes = make.run_all(entry, lake, workers=2)
    assert outcomes[3].summary["outcomes"] == {"accepted": 2000}
    assert outcomes[3].summary["splits"] == {"test": 200, "train": 1800}
