"""Recordings that were quarantined for what they are, and accepted by a person: they come in as far as they go."""

from __future__ import annotations

import csv
import hashlib
import shutil

import polars as pl
import pytest
from reviewing import decide, ends, exported, filled_in, row_of, take

from assets.corpora.config import CorpusEntry
from validation.errors import UserError
from validation.lake import Lake
from validation.ledger import balance
from validation.review import decision_files

ACCEPT = {"decision": "accept"}


@pytest.fixture
def entry(tmp_path, lake: Lake, make) -> CorpusEntry:
    """Three rows: whole, cut to 60 % with a text as long as before, and a FLAC by another name."""
    entry = make.ljspeech(tmp_path / "c", [("whole", "hello"), ("cut", "hello there"), ("named", "hello")])
    wavs = tmp_path / "c" / "wavs"
    data = (wavs / "cut.wav").read_bytes()
    (wavs / "cut.wav").write_bytes(data[: int(0.6 * len(data))])
    make.speech(wavs / "x.flac", seed=7)
    (wavs / "x.flac").rename(wavs / "named.wav")
    make.run_all(entry, lake)
    assert ends(lake) == {"whole": "accepted", "cut": "truncated", "named": "wrong_extension"}
    return entry


def test_what_a_person_accepts_comes_in_with_the_next_run(entry, lake, make, tmp_path):
    take(lake, decide(lake, tmp_path / "q.csv", cut={**ACCEPT, "reviewer": "ben"}, named=ACCEPT))
    make.run_all(entry, lake)
    assert ends(lake) == {"whole": "accepted", "cut": "accepted_by_review", "named": "accepted_by_review"}
    assert balance(lake, "made").holds
    stored = {row["utterance_id"]: row for row in lake.read_table("audio_22k", "made").to_dicts()}
    cut, named, whole = stored["cut"], stored["named"], stored["whole"]
    assert (cut["despite"], cut["promised_s"]) == ("truncated", pytest.approx(1.0, abs=1e-3))
    assert cut["duration_s"] == pytest.approx(0.6, abs=2e-3)
    assert cut["decision"].startswith("accepted by ben at 20")
    assert (named["despite"], named["promised_s"], named["source_format"]) == (
        "wrong_extension", None, "FLAC/PCM_16",
    )  # fmt: skip
    assert [whole[name] for name in ("despite", "decision", "fault", "promised_s")] == [None] * 4
    told = row_of(lake, "cut")
    assert (told["value"], told["limit"]) == (pytest.approx(0.6, abs=2e-3), pytest.approx(1.0, abs=1e-3))
    for words in ("cut.wav", "promises 32000 bytes", "0.599 s of 1.000 s are there", "accepted by ben at 20"):
        assert words in told["detail"], told["detail"]
    assert "is named .wav but holds flac" in row_of(lake, "named")["detail"]
    assert not any(outcome.recomputed for outcome in make.run_all(entry, lake))
    assert exported(lake, tmp_path / "again.csv") == []


def test_the_same_decisions_give_the_same_tables(entry, lake, make, tmp_path):
    take(lake, decide(lake, tmp_path / "q.csv", cut=ACCEPT, named=ACCEPT))
    make.run_all(entry, lake)
    tables = ("audio_22k", "audio_quality", "accepted_utterances")
    before = {name: _digest(lake, name) for name in tables}
    for name in tables:
        lake.remove(lake.table_path(name, "made"))
    lake.remove("work/audio_22k/made.parquet")
    make.run_all(entry, lake)
    assert {name: _digest(lake, name) for name in tables} == before


def test_an_acceptance_that_is_overruled_takes_the_row_out_again(entry, lake, make, tmp_path):
    first = decide(lake, tmp_path / "q.csv", cut=ACCEPT)
    take(lake, first)
    make.run_all(entry, lake)
    rows = list(csv.DictReader(first.open(encoding="utf-8-sig")))
    for row in rows:
        row["decision"] = "reject" if row["id"] == "cut" else ""
    take(lake, filled_in(tmp_path / "no.csv", rows), overrule=True)
    make.run_all(entry, lake)
    assert ends(lake)["cut"] == "rejected_by_review"
    assert lake.read_table("audio_22k", "made")["utterance_id"].to_list() == ["whole"]


def test_an_acceptance_says_nothing_of_what_is_found_then(entry, lake, make, tmp_path):
    strict = entry.model_copy(update={"thresholds": {"max_chars_per_second": {"default": 15.0}}})
    take(lake, decide(lake, tmp_path / "q.csv", cut=ACCEPT))
    make.run_all(strict, lake)
    asked = row_of(lake, "cut")
    assert asked["reason"] == "text_too_long" and "0.599 s of 1.000 s are there" in asked["detail"]
    take(lake, decide(lake, tmp_path / "q2.csv", cut={**ACCEPT, "corrected_text": "hello"}))
    make.run_all(strict, lake)
    assert ends(lake)["cut"] == "accepted_by_review"
    texts = lake.read_table("accepted_utterances", "made").filter(utterance_id="cut")["text"]
    assert texts.to_list() == ["hello"]


def test_another_recording_is_asked_about_again(entry, lake, make, tmp_path):
    take(lake, decide(lake, tmp_path / "q.csv", cut=ACCEPT))
    path = tmp_path / "c" / "wavs" / "cut.wav"
    path.write_bytes(path.read_bytes()[:-2_000])
    make.run_all(entry, lake)
    assert ends(lake)["cut"] == "truncated"


def test_what_holds_no_sound_is_refused_by_name(entry, lake, make, tmp_path):
    rows = exported(lake, tmp_path / "q.csv")
    (tmp_path / "c" / "wavs" / "cut.wav").write_bytes(b"no audio at all")
    make.run_all(entry, lake)
    assert ends(lake)["cut"] == "not_audio"
    for row in rows:
        row["decision"] = "accept"
    with pytest.raises(UserError, match=r"'cut' of corpus 'made': it does not wait.*errored as not_audio"):
        take(lake, filled_in(tmp_path / "q.csv", rows))
    assert decision_files(lake) == []


def test_real_recordings_that_are_broken(lake, make, tmp_path):
    names = {"truncated.wav": 3.083, "truncated.flac": 8.448, "truncated.mp3": 1.099,
             "mp3_renamed.wav": 1.900, "wav_renamed.flac": 5.139}  # fmt: skip
    broken, root = make.shared("broken"), tmp_path / "c"
    root.mkdir()
    for name in [*names, "header_only.wav", "text_as_wav.wav"]:
        shutil.copy(broken / name, root / name)
    entry = make.entry("untranscribed", root, options={"purpose": "tokenizer"}, budget={"lost": 1.0})
    make.run_all(entry, lake)
    rows = exported(lake, tmp_path / "q.csv")
    assert {row["id"] for row in rows} == set(names)
    take(lake, decide(lake, tmp_path / "q.csv", **dict.fromkeys(names, ACCEPT)))
    make.run_all(entry, lake)
    assert {name: ends(lake)[name] for name in names} == dict.fromkeys(names, "accepted_by_review")
    stored = lake.read_table("audio_22k", "made").select(
        "utterance_id", pl.col("duration_s").round(3), pl.col("promised_s").round(2)
    )
    found = {name: (length, promised) for name, length, promised in stored.iter_rows()}
    assert {name: length for name, (length, _) in found.items()} == pytest.approx(names, abs=1e-3)
    promised = [found[f"truncated.{kind}"][1] for kind in ("wav", "flac", "mp3")]
    assert promised == [pytest.approx(5.14), pytest.approx(15.01, abs=0.01), pytest.approx(1.9)]


def _digest(lake: Lake, name: str) -> str:
    with lake.open(lake.table_path(name, "made")) as stream:
        return hashlib.sha256(stream.read()).hexdigest()
