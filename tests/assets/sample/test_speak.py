"""The corpora on disk: read back by the real readers, with every planted fault found, written once and whole."""

from __future__ import annotations

import csv
import os
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

import assets.sample.synthesis as synthesis
from assets.audio.quality import measure_corpus
from assets.audio.resample import make_audio_22k
from assets.corpora import load_corpora
from assets.corpora.acceptance import accept
from assets.corpora.ingest import ingest
from assets.corpora.training_jsonl import build_jsonl
from assets.sample.faults import Fault, damage_waveform
from assets.sample.script import write_script
from assets.sample.speak import SampleSettings, speak_corpora
from assets.sample.synthesis import SampleError, Take, speech
from assets.sample.voices import COMMAND_VOICES, HELD_OUT_SPEAKER, Voice
from validation.digests import digest_directory
from validation.lake import Lake
from validation.ledger import balance, read_ledger

SMALL = SampleSettings(utterances=120, seed=7)
needs_espeak = pytest.mark.skipif(
    find_spec("espeakng_loader") is None, reason="the extra `sample` is not installed"
)


@pytest.fixture(scope="module")
def corpora_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("spoken") / "sample"
    assert speak_corpora(directory, SMALL)
    return directory


@pytest.fixture(scope="module")
def lake(corpora_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    for entry in load_corpora(corpora_dir / "corpora.yaml").corpora:
        ingest(entry, lake)
        make_audio_22k(entry, lake, workers=1)
        measure_corpus(entry, lake)
        accept(entry, lake)
        build_jsonl(entry, lake)
    return lake


def corpus_names(corpora_dir: Path) -> list[str]:
    return [entry.name for entry in load_corpora(corpora_dir / "corpora.yaml").corpora]


def states(directory: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(directory.rglob("*"))}


@needs_espeak
def test_real_readers_find_every_planted_fault_and_nothing_else(corpora_dir: Path, lake: Lake) -> None:
    with (corpora_dir / "FAULTS.csv").open(encoding="utf-8", newline="") as stream:
        planted = Counter(
            (line["corpus"], line["row"], line["ledger_reason"]) for line in csv.DictReader(stream)
        )
    found = Counter[tuple[str, str, str]]()
    for name in corpus_names(corpora_dir):
        assert balance(lake, name).holds
        # A conversation's audio are rows of their own, `<row>#<marker>`, which go together.
        bad = read_ledger(lake, name).filter(~pl.col("reason").is_in(["accepted", "companion_lost"]))
        found.update(
            {(name, row.split("#")[0], reason) for row, reason in bad["utterance_id", "reason"].iter_rows()}
        )
    assert found == planted


@needs_espeak
def test_every_fault_is_planted_somewhere(corpora_dir: Path) -> None:
    with (corpora_dir / "FAULTS.csv").open(encoding="utf-8", newline="") as stream:
        kinds = {line["fault"] for line in csv.DictReader(stream)}
    wanted = {"clipped", "silent", "truncated", "missing_file", "wrong_length", "empty_text", "duplicate_id"}
    assert kinds == wanted


@needs_espeak
def test_held_out_voice_and_a_part_of_the_others_are_test(corpora_dir: Path, lake: Lake) -> None:
    rows = lake.read_table("training_rows")
    voice = rows.filter(pl.col("speaker") == HELD_OUT_SPEAKER)
    assert set(voice["split"]) == {"test"}
    others = rows.filter(pl.col("speaker") != HELD_OUT_SPEAKER)
    held_out = others.filter(pl.col("split") == "test").height / others.height
    assert 0.02 < held_out < 0.25


@needs_espeak
def test_all_four_tasks_come_out(lake: Lake) -> None:
    assert set(lake.read_table("training_rows")["task"]) == {"asr", "tts", "conversation", "text"}


@needs_espeak
def test_no_audio_is_in_both_splits(lake: Lake) -> None:
    rows = lake.read_table("training_rows").explode("audio_digests").drop_nulls("audio_digests")
    digests = {
        split: set(rows.filter(pl.col("split") == split)["audio_digests"]) for split in ("train", "test")
    }
    assert not digests["train"] & digests["test"]


@needs_espeak
def test_speech_is_short_and_at_a_level_one_hears(lake: Lake) -> None:
    audio = lake.read_table("audio_22k").join(
        lake.read_table("accepted_utterances"), on=["corpus", "utterance_id"], how="semi"
    )
    assert set(audio["source_rate_hz"]) == {16_000, 22_050}
    assert audio["duration_s"].is_between(0.3, 3.0).all()
    assert audio["level_dbfs"].is_between(-30.0, -10.0).all()


@needs_espeak
def test_second_call_touches_nothing(corpora_dir: Path) -> None:
    before = states(corpora_dir)
    assert not speak_corpora(corpora_dir, SMALL)
    assert states(corpora_dir) == before


@needs_espeak
def test_same_settings_give_the_same_bytes_elsewhere(corpora_dir: Path, tmp_path: Path) -> None:
    speak_corpora(tmp_path / "again", SMALL)
    assert digest_directory(tmp_path / "again") == digest_directory(corpora_dir)


@needs_espeak
def test_lost_file_is_spoken_again_and_left_over_parts_go(tmp_path: Path) -> None:
    directory = tmp_path / "sample"
    speak_corpora(directory, SMALL)
    before = digest_directory(directory)
    next(directory.rglob("*.flac")).unlink()
    (tmp_path / ".sample.killed.partial" / "new").mkdir(parents=True)
    assert speak_corpora(directory, SMALL)
    assert digest_directory(directory) == before
    assert [path.name for path in tmp_path.iterdir() if path.name != ".sample.lock"] == ["sample"]


@needs_espeak
def test_other_settings_replace_the_corpora(tmp_path: Path) -> None:
    speak_corpora(tmp_path / "sample", SMALL)
    before = digest_directory(tmp_path / "sample")
    assert speak_corpora(tmp_path / "sample", SampleSettings(SMALL.utterances, SMALL.seed + 1))
    assert digest_directory(tmp_path / "sample") != before


def test_directory_with_other_things_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("all of it")
    with pytest.raises(SampleError, match="holds something else"):
        speak_corpora(tmp_path, SMALL)
    assert precious.read_text() == "all of it"


def test_failure_half_way_leaves_nothing_that_a_reader_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthesis, "find_spec", lambda name: None)
    with pytest.raises(SampleError, match=r"-e '\.\[sample\]'"):
        speak_corpora(tmp_path / "sample", SMALL)
    assert [path.name for path in tmp_path.iterdir()] == [".sample.lock"]


@needs_espeak
def test_unknown_voice_is_named() -> None:
    nobody = Voice("x", "Nobody", "F", "en", "en-us+nobody", 140, 50)
    with speech() as voices, pytest.raises(SampleError, match="eSpeak NG has no voice 'en-us\\+nobody'"):
        voices.speak(Take("yes", nobody, 0, 0))


@needs_espeak
def test_gpl_library_stays_out_of_this_process(corpora_dir: Path) -> None:
    loaded = Path(f"/proc/{os.getpid()}/maps").read_text()
    assert corpora_dir.exists() and "espeak" not in loaded


@needs_espeak
def test_take_is_speech_between_two_silences() -> None:
    with speech() as voices:
        waveform = voices.speak(Take("seven", COMMAND_VOICES[0], 0, 0))
        edge = round(0.08 * voices.rate_hz)
    assert waveform.dtype == np.float32 and 0.2 < np.abs(waveform).max() <= 1.0
    assert not waveform[:edge].any() and not waveform[-edge:].any()


@pytest.mark.parametrize("fault", ["clipped", "silent"])
def test_damage_is_what_its_name_says(fault: Fault) -> None:
    damaged = damage_waveform(np.linspace(-0.5, 0.5, 1000, dtype=np.float32), fault)
    at_ceiling = (np.abs(damaged) == 1.0).mean()
    assert at_ceiling > 0.9 if fault == "clipped" else not damaged.any()


@needs_espeak
def test_small_sample_has_the_files_that_its_script_says(corpora_dir: Path) -> None:
    script = write_script(SMALL.utterances, SMALL.seed)
    files = {path.stem: path for path in corpora_dir.glob("spoken_mandarin/wavs/*.wav")}
    missing = 1  # one of the planted faults
    assert len(files) == len(script.mandarin) - missing
    assert soundfile.info(next(iter(files.values()))).samplerate == 22_050
