"""audio_22k and audio_quality: each file done once, faults accounted for, killed runs continued."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import polars as pl
import psutil
import pytest
import soundfile as sf
from failing_work import die_at_b, hang_at_b

from assets.audio import audio_pass, resample
from assets.audio.quality import measure_corpus
from assets.audio.resample import make_audio_22k
from assets.audio.results import results_path
from assets.audio.work import do_source
from assets.corpora.ingest import ingest
from validation.errors import UserError
from validation.ledger import read_ledger

REPOSITORY = Path(__file__).resolve().parents[3]


def test_the_table_describes_source_and_stored_file(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "hello"), ("b", "hello")], rate=8_000)
    ingest(entry, lake)
    outcome = make_audio_22k(entry, lake, workers=1)
    row = lake.read_table("audio_22k", "made").row(0, named=True)
    assert outcome.rows == 2
    assert (row["source_rate_hz"], row["source_channels"], row["source_format"]) == (8_000, 1, "WAV/PCM_16")
    samples, rate = sf.read(lake.uri(row["audio_path"]))
    assert (rate, samples.size) == (22_050, row["frames"])
    assert row["duration_s"] == pytest.approx(1.0, abs=1e-3)
    assert row["peak_dbfs"] == pytest.approx(-6.0, abs=0.5)


def test_measures_are_of_the_source_at_its_own_rate(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "hello")], rate=8_000)
    make.run_all(entry, lake)
    row = lake.read_table("audio_quality", "made").row(0, named=True)
    assert row["source_rate_hz"] == 8_000
    assert row["bandwidth_hz"] <= 4_000
    assert row["chars_per_second"] == pytest.approx(5.0, rel=1e-3)


def test_only_changed_files_are_done_again(tmp_path, lake, make):
    root = tmp_path / "c"
    entry = make.ljspeech(root, [("a", "hello"), ("b", "hello"), ("c", "hello")])
    make.run_all(entry, lake)
    make.speech(root / "wavs" / "b.wav", seconds=1.5, seed=9)
    make.run_all(entry, lake)
    summary = lake.read_manifest("audio_22k", "made")["summary"]
    assert (summary["files_done"], summary["reused"]) == (1, 2)
    assert lake.read_table("audio_22k", "made")["duration_s"].round(2).to_list() == [1.0, 1.5, 1.0]


def test_a_stored_file_that_was_lost_or_cut_is_made_again(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "hello"), ("b", "hello")])
    make.run_all(entry, lake)
    before = make.files_of(Path(lake.root))
    lost, cut = lake.read_table("audio_22k", "made")["audio_path"]
    Path(lake.uri(lost)).unlink()
    Path(lake.uri(cut)).write_bytes(before[cut][:-2])
    again = make.run_all(entry, lake)
    assert [outcome.recomputed for outcome in again] == [False, True, False, False, False]
    after = make.files_of(Path(lake.root))
    assert (after[lost], after[cut]) == (before[lost], before[cut])


def test_all_stored_audio_is_made_again_when_its_folder_is_gone(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "hello"), ("b", "hello")])
    make.run_all(entry, lake)
    before = make.files_of(Path(lake.root))
    shutil.rmtree(Path(lake.root, "audio_22k"))
    assert make_audio_22k(entry, lake, workers=1).summary["files_done"] == 2
    after = make.files_of(Path(lake.root))
    manifest = "manifests/audio_22k/made.json"  # counts what was done
    assert {**after, manifest: b""} == {**before, manifest: b""}
    assert not make_audio_22k(entry, lake, workers=1).recomputed


def test_a_source_that_changed_after_it_was_read_is_not_trained_on(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "hello"), ("b", "hello"), ("c", "hello")])
    ingest(entry, lake)
    make.speech(tmp_path / "c" / "wavs" / "a.wav", seed=5)
    (tmp_path / "c" / "wavs" / "b.wav").unlink()
    make_audio_22k(entry, lake, workers=1)
    ledger = read_ledger(lake, "made")
    assert dict(ledger.select("utterance_id", "reason").iter_rows()) == {
        "a": "source_changed",
        "b": "missing_audio",
    }


def test_measures_without_an_audio_pass_say_what_to_run(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "hello")])
    ingest(entry, lake)
    make_audio_22k(entry, lake, workers=1)
    Path(lake.uri(results_path("made"))).unlink()
    with pytest.raises(ValueError, match=r"'made'.*run the step audio_22k first"):
        measure_corpus(entry, lake)


def test_measures_of_other_rows_are_not_taken(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "hello"), ("b", "so long")])
    ingest(entry, lake)
    make_audio_22k(entry, lake, workers=1)
    rows = lake.read_table("raw_utterances", "made")
    for others in (rows[::-1], rows[:1], pl.concat([rows, rows[:1]])):
        lake.write_table("raw_utterances", "made", others)
        with pytest.raises(
            UserError, match=r"corpus 'made': from .* is not made from raw_utterances as it is"
        ):
            measure_corpus(entry, lake)


def test_a_file_that_kills_its_worker_is_a_ledger_row(tmp_path, lake, make, monkeypatch):
    entry = make.ljspeech(tmp_path / "c", [("a", "hello"), ("b", "hello")])
    ingest(entry, lake)
    monkeypatch.setattr(resample, "do_source", die_at_b)
    make_audio_22k(entry, lake, workers=2)
    assert lake.read_table("audio_22k", "made")["utterance_id"].to_list() == ["a"]
    assert read_ledger(lake, "made")["reason"].to_list() == ["worker_died"]

    # What killed it may have passed: this row, and no other, is tried again.
    monkeypatch.setattr(resample, "do_source", do_source)
    assert make_audio_22k(entry, lake, workers=1).summary["files_done"] == 1
    assert lake.read_table("audio_22k", "made")["utterance_id"].to_list() == ["a", "b"]
    assert read_ledger(lake, "made").is_empty()
    assert not make_audio_22k(entry, lake, workers=1).recomputed


def test_a_file_that_hangs_its_decoder_is_a_ledger_row(tmp_path, lake, make, monkeypatch):
    entry = make.ljspeech(tmp_path / "c", [("a", "hello"), ("b", "hello")])
    ingest(entry, lake)
    monkeypatch.setattr(resample, "do_source", hang_at_b)
    monkeypatch.setattr(audio_pass, "FILE_LIMIT_S", 4.0)
    make_audio_22k(entry, lake, workers=2)
    (row,) = read_ledger(lake, "made").to_dicts()
    assert (row["utterance_id"], row["reason"], row["outcome"]) == ("b", "timed_out", "errored")
    assert "b.wav was not done within the limit of 4 s" in row["detail"]


def test_files_of_the_same_content_are_decoded_once(tmp_path, lake, make):
    entry = make.ljspeech(tmp_path / "c", [("a", "hello"), ("b", "hello")])
    shutil.copy(tmp_path / "c" / "wavs" / "a.wav", tmp_path / "c" / "wavs" / "b.wav")
    ingest(entry, lake)
    assert make_audio_22k(entry, lake, workers=1).summary["files_done"] == 1
    stored = lake.read_table("audio_22k", "made")
    assert (stored["utterance_id"].to_list(), stored["audio_path"].n_unique()) == (["a", "b"], 1)
    measure_corpus(entry, lake)
    assert lake.read_table("audio_quality", "made")["utterance_id"].to_list() == ["a", "b"]
    # The pass's file has a row for each; the next pass still knows that they are one.
    Path(lake.uri(lake.table_path("audio_22k", "made"))).unlink()
    assert make_audio_22k(entry, lake, workers=1).summary["files_done"] == 0
    assert lake.read_table("audio_22k", "made").equals(stored)


PROGRAM = """
    import sys
    from assets.audio import results
    from assets.audio.resample import make_audio_22k
    from assets.corpora.config import CorpusEntry
    from validation.lake import Lake

    if __name__ == "__main__":
        results.AudioResults.__init__.__defaults__ = (8,)
        flush = results.ResultParts.flush

        def flush_and_say(self):
            flush(self)
            print(self._written, flush=True)
            sys.stdin.read()  # until it is killed

        results.ResultParts.flush = flush_and_say
        entry = CorpusEntry.model_validate_json(sys.argv[1])
        make_audio_22k(entry, Lake(sys.argv[2]), workers=2)
"""


@pytest.mark.timeout(180)
def test_a_run_killed_half_way_continues_to_the_same_bytes(tmp_path, lake, make):
    rows = [(f"u{n:03d}", "hello there") for n in range(80)]
    entry = make.ljspeech(tmp_path / "c", rows)
    ingest(entry, lake)
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, str(program), entry.model_dump_json(), lake.root]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}

    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "8"  # results on the disk
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    gone, alive = psutil.wait_procs(workers, timeout=60)
    assert workers and not alive and len(gone) == len(workers), "workers outlived their killed parent"
    assert not lake.has_table("audio_22k", "made")
    known = make.rows_of(Path(lake.root, "work/audio_22k/made"))
    assert 8 <= known < 80

    outcome = make_audio_22k(entry, lake, workers=2)
    assert outcome.summary["reused"] == known
    continued = make.files_of(Path(lake.root))
    whole = type(lake)(str(tmp_path / "undisturbed"))
    ingest(entry, whole)
    make_audio_22k(entry, whole, workers=2)
    undisturbed = make.files_of(Path(whole.root))
    manifest = "manifests/audio_22k/made.json"  # counts what was reused, so differs by its nature
    continued.pop(manifest)
    undisturbed.pop(manifest)
    assert continued == undisturbed
