"""Variants from tables to tokens and packs: never stored, the same whoever makes them, apart from originals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
from augmented_lake import RATE_HZ, RECIPE, SPEECH, STREET, hiss, make_lake, stored

from models import extend_text_tokenizer, load_audio_tokenizer, make_byte_tokenizer
from models.tokenizers.mel_kmeans import MelKmeansTokenizer
from training_jobs import tokenize_audio
from training_jobs.augmented_audio import AugmentedAudio, UnknownRowError, corpus_of_row, render
from training_jobs.evaluation_rows import held_out_rows
from training_jobs.fit_tokenizer import draw_recordings
from training_jobs.jobs import PackJob, TokenizeJob, read_result, write_job
from training_jobs.lake_audio import StoredAudioError, read_piece, read_waveform
from training_jobs.pack import run as pack
from training_jobs.plan import names_of_rows, read_plan
from training_jobs.profile import MixtureItem
from training_jobs.reporting import Reporter
from training_jobs.token_store import TokenStore
from validation.augmentation.record import Augmentation, MixedNoise
from validation.augmentation.table import augment
from validation.lake import Lake
from validation.schemas import frame_from_rows

SILENT = Reporter(lambda line: None)


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tokenizer")
    audio = [(hiss(number, 2.0), RATE_HZ) for number in range(3)]
    MelKmeansTokenizer.train(audio, codes=16, iterations=3, seed=0).save(directory)
    return directory


def tokenize_job(lake: Lake, tokenizer_dir: Path, output: Path) -> TokenizeJob:
    return TokenizeJob(
        lake=lake.url, tokenizer_dir=tokenizer_dir, corpora=[SPEECH, STREET], output_dir=output
    )


def tokenize(lake: Lake, tokenizer_dir: Path, output: Path) -> dict[str, int]:
    tokenize_audio.run(tokenize_job(lake, tokenizer_dir, output), SILENT)
    result = read_result(output)
    assert result is not None
    encoded: dict[str, int] = result["encoded"]
    return encoded


def table_bytes(lake: Lake) -> bytes:
    return Path(lake.full_path(lake.table_path("audio_tokens", SPEECH))).read_bytes()


def test_tokens_are_those_of_what_render_gives_and_noise_has_none(
    tmp_path: Path, tokenizer_dir: Path
) -> None:
    lake = make_lake(tmp_path / "lake")
    augment(SPEECH, RECIPE, lake)
    tokenize(lake, tokenizer_dir, tmp_path / "out")
    tokens = lake.read_table("audio_tokens", SPEECH)
    drawn = lake.read_table("augmentations", SPEECH)
    tokenizer = load_audio_tokenizer(tokenizer_dir)
    assert drawn.height > 5
    for row in drawn.iter_rows(named=True):
        found = tokens.filter(
            audio_digest=row["audio_digest"], augmentation_digest=row["augmentation_digest"]
        ).row(0, named=True)
        made = render(lake, SPEECH, row["row_id"], row["marker"])
        assert made.augmentation == row["augmentation"]
        assert made.samples.size / made.rate_hz == pytest.approx(row["duration_s"])
        assert found["duration_s"] == row["duration_s"]
        assert tokenizer.encode(made.samples, made.rate_hz) == found["token_ids"]
    originals = tokens.filter(augmentation_digest="")
    assert originals.height == 8 + 4
    assert tokens.height == originals.height + drawn.n_unique(["audio_digest", "augmentation_digest"])
    assert lake.read_table("audio_tokens", STREET).is_empty()


def test_no_variant_is_stored(tmp_path: Path, tokenizer_dir: Path) -> None:
    lake = make_lake(tmp_path / "lake")
    before = {path for path in (tmp_path / "lake").rglob("*") if path.is_file()}
    augment(SPEECH, RECIPE, lake)
    tokenize(lake, tokenizer_dir, tmp_path / "out")
    found = {path for path in (tmp_path / "lake").rglob("*") if path.is_file()}
    new = {path for path in found - before if path.stat().st_size}  # locks are empty
    assert {path.suffix for path in new} == {".parquet", ".json"}
    assert not list((tmp_path / "lake" / "work").rglob("*.parquet")), "the parts went"


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(tmp_path: Path, tokenizer_dir: Path) -> None:
    lakes = [make_lake(tmp_path / name) for name in ("undisturbed", "killed")]
    for lake in lakes:
        augment(SPEECH, RECIPE, lake)
    every = tokenize(lakes[0], tokenizer_dir, tmp_path / "one")[SPEECH]
    # What a run had written when it was killed: a part with some tokens.
    store = TokenStore(lakes[1], SPEECH, load_audio_tokenizer(tokenizer_dir).digest)
    done = lakes[0].read_table("audio_tokens", SPEECH)[:4]
    for row in done.iter_rows(named=True):
        store.add(row["audio_digest"], row["augmentation_digest"], row["token_ids"], row["duration_s"])
    store._write_part()
    assert tokenize(lakes[1], tokenizer_dir, tmp_path / "two")[SPEECH] == every - 4
    assert table_bytes(lakes[0]) == table_bytes(lakes[1])
    assert tokenize(lakes[1], tokenizer_dir, tmp_path / "three")[SPEECH] == 0
    assert table_bytes(lakes[0]) == table_bytes(lakes[1])


def test_a_kill_behind_the_table_doubles_nothing(tmp_path: Path, tokenizer_dir: Path) -> None:
    lake = make_lake(tmp_path / "lake")
    tokenize(lake, tokenizer_dir, tmp_path / "one")
    before = table_bytes(lake)
    part = lake.read_table("audio_tokens", SPEECH)[2:5]
    for name in ("a", "b"):
        with lake.atomic_write(f"work/audio_tokens/{SPEECH}/{name}.parquet") as stream:
            part.write_parquet(stream)
    assert tokenize(lake, tokenizer_dir, tmp_path / "two")[SPEECH] == 0
    assert table_bytes(lake) == before


def test_workers_make_what_one_process_makes(
    tmp_path: Path, tokenizer_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lakes = [make_lake(tmp_path / name) for name in ("alone", "workers")]
    for lake in lakes:
        augment(SPEECH, RECIPE, lake)
    tokenize(lakes[0], tokenizer_dir, tmp_path / "one")
    job = write_job(tokenize_job(lakes[1], tokenizer_dir, tmp_path / "two"), tmp_path / "job.json")
    program = (
        "import os, sys, pathlib\n"
        "from training_jobs import tokenize_audio as program\n"
        "from training_jobs.jobs import TokenizeJob, read_job\n"
        "from training_jobs.reporting import Reporter\n"
        "program._ALONE_S = 0.0\n"
        "os.sched_getaffinity = lambda process: {0, 1}\n"
        "program.run(read_job(TokenizeJob, pathlib.Path(sys.argv[1])), Reporter(lambda line: None))\n"
    )
    (tmp_path / "program.py").write_text(
        f"if __name__ == '__main__':\n{_indented(program)}", encoding="utf-8"
    )
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    subprocess.run([sys.executable, str(tmp_path / "program.py"), str(job)], check=True, timeout=300)
    assert table_bytes(lakes[0]) == table_bytes(lakes[1])


def _indented(lines: str) -> str:
    return "".join(f"    {line}\n" for line in lines.splitlines())


def test_other_settings_make_other_tokens_and_drop_the_old_ones(tmp_path: Path, tokenizer_dir: Path) -> None:
    lake = make_lake(tmp_path / "lake")
    augment(SPEECH, RECIPE, lake)
    tokenize(lake, tokenizer_dir, tmp_path / "one")
    before = lake.read_table("audio_tokens", SPEECH).filter(pl.col("augmentation_digest") != "")
    augment(SPEECH, RECIPE.model_copy(update={"seed": 5}), lake)
    encoded = tokenize(lake, tokenizer_dir, tmp_path / "two")[SPEECH]
    table = lake.read_table("audio_tokens", SPEECH)
    after = table.filter(pl.col("augmentation_digest") != "")
    assert encoded == after.height, "originals are not encoded again"
    assert not set(before["augmentation_digest"]) & set(after["augmentation_digest"])
    assert table.height == after.height + 12


def test_packs_hold_the_variants_and_evaluation_does_not(tmp_path: Path, tokenizer_dir: Path) -> None:
    lake = make_lake(tmp_path / "lake")
    extend_text_tokenizer(make_byte_tokenizer(), 16).save_pretrained(tmp_path / "model")
    outcome = augment(SPEECH, RECIPE, lake)
    tokenize(lake, tokenizer_dir, tmp_path / "tokens")
    digest = load_audio_tokenizer(tokenizer_dir).digest
    job = PackJob(
        lake=lake.url,
        corpora=[SPEECH, STREET],
        model_dir=tmp_path / "model",
        tokenizer_digest=digest,
        mixture=[MixtureItem(task="asr", ratio=1.0), MixtureItem(task="conversation", ratio=1.0)],
        ratio=(1, 10, 4, 10),
        sequence_length=256,
        seed=1,
        output_dir=tmp_path / "packs",
    )
    pack(job, SILENT)
    rows = range(read_plan(job.output_dir)["packed_rows"])
    packed = sorted(name for names in names_of_rows(job.output_dir, rows).values() for name in names)
    variants = set(lake.read_table("augmentations", SPEECH)["row_id"])
    assert len(variants) == outcome.summary["variants"]
    assert packed == sorted(
        [
            *(f"{SPEECH}/{name}" for name in variants),
            f"{SPEECH}/q0",
            *(f"{SPEECH}/u{n}:asr" for n in range(6)),
        ]
    )
    assert read_plan(job.output_dir)["sources"][f"{SPEECH}/asr"]["rows"] == 6 + sum(
        ":asr" in name for name in variants
    )
    originals = {
        row["audio_digest"]: row["token_ids"]
        for row in lake.read_table("audio_tokens", SPEECH)
        .filter(augmentation_digest="")
        .iter_rows(named=True)
    }
    held_out = held_out_rows(lake, [SPEECH], digest, max_rows_per_slice=10, seed=1).rows
    assert len(held_out) == 5
    assert all(tokens in originals.values() for row in held_out for tokens in row.audio_tokens)
    assert not any("~" in row.row_id for row in held_out)


def test_a_tokenizer_is_not_trained_on_noise(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    drawn = draw_recordings(lake, [SPEECH, STREET], max_seconds=1000.0, seed=1)
    assert drawn.height == 6 + 2
    assert drawn["audio_path"].str.starts_with(f"audio_22k/{SPEECH}/").all()


def test_a_piece_begins_where_asked_and_goes_round(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    path = str(stored(lake, STREET, hiss(1, 1.0))["audio_path"])
    whole = read_waveform(lake, path)[0]
    piece = read_piece(lake, path, 0.25, 0.5)[0]
    start = round(0.25 * RATE_HZ)
    assert np.array_equal(piece, whole[start : start + round(0.5 * RATE_HZ)])
    long = read_piece(lake, path, 0.5, 3.0)[0]
    assert long.size == 3 * RATE_HZ
    assert np.array_equal(long, np.resize(np.roll(whole, -round(0.5 * RATE_HZ)), long.size))


def test_a_pause_in_the_noise_is_not_what_is_heard(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    samples = np.zeros(3 * RATE_HZ, np.float32)
    samples[-RATE_HZ:] = hiss(1, 1.0)
    audio = stored(lake, STREET, samples)
    noise = MixedNoise(STREET, "n", "CC0-1.0", audio["audio_path"], audio["audio_digest"], 0.0, 10.0)
    speech = stored(lake, SPEECH, np.full(RATE_HZ, 0.1, np.float32))["audio_path"]
    made = AugmentedAudio(lake).read(speech, Augmentation(noise=noise).to_json())[0]
    added = made - read_waveform(lake, speech)[0]
    assert 10 * np.log10(0.01 / np.mean(added**2)) == pytest.approx(10.0, abs=0.5)


def test_noise_that_is_silent_or_gone_is_named(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    audio = stored(lake, STREET, np.zeros(RATE_HZ, np.float32))
    speech = stored(lake, SPEECH, hiss(1, 1.0))["audio_path"]
    noise = MixedNoise(STREET, "n1", "CC0-1.0", audio["audio_path"], audio["audio_digest"], 0.0, 10.0)
    drawn = Augmentation(noise=noise).to_json()
    with pytest.raises(StoredAudioError, match=r"noise 'n1' of 'street' is silent"):
        AugmentedAudio(lake).read(speech, drawn)
    Path(lake.full_path(audio["audio_path"])).unlink()
    with pytest.raises(StoredAudioError, match=r"\.wav is missing"):
        AugmentedAudio(lake).read(speech, drawn)


def test_noise_at_another_rate_is_resampled(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    audio = stored(lake, STREET, hiss(1, 1.0))
    place = Path(lake.full_path("audio_16k/speech.wav"))
    place.parent.mkdir()
    soundfile.write(place, np.full(32_000, 0.1), 16_000)
    noise = MixedNoise(STREET, "n1", "CC0-1.0", audio["audio_path"], audio["audio_digest"], 0.0, 10.0)
    made, rate_hz = AugmentedAudio(lake).read("audio_16k/speech.wav", Augmentation(noise=noise).to_json())
    assert (made.size, rate_hz) == (32_000, 16_000)


def test_render_gives_the_original_too_and_names_what_there_is_not(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    augment(SPEECH, RECIPE, lake)
    made = render(lake, SPEECH, "q0", 1)
    digest = lake.read_table("training_rows", SPEECH).filter(row_id="q0")["audio_digests"][0][1]
    assert made.augmentation == ""
    assert np.array_equal(
        made.samples, read_waveform(lake, f"audio_22k/{SPEECH}/{digest[:2]}/{digest}.wav")[0]
    )
    with pytest.raises(UnknownRowError, match=r"no training row and no variant 'u99:asr'"):
        render(lake, SPEECH, "u99:asr")
    with pytest.raises(UnknownRowError, match=r"row 'q0' of 'speech' has 2 audios, no number 2"):
        render(lake, SPEECH, "q0", 2)


def test_the_corpus_of_a_row_is_found(tmp_path: Path) -> None:
    lake = make_lake(tmp_path)
    augment(SPEECH, RECIPE, lake)
    variant = str(lake.read_table("augmentations", SPEECH)["row_id"][0])
    assert corpus_of_row(lake, [STREET, SPEECH, "other"], variant) == SPEECH
    with pytest.raises(UnknownRowError, match=r"none of the corpora .* has a training row or a variant 'x'"):
        corpus_of_row(lake, [STREET, SPEECH], "x")
    row: dict[str, Any] = lake.read_table("training_rows", SPEECH).row(0, named=True)
    lake.write_table("training_rows", STREET, frame_from_rows("training_rows", [row | {"corpus": STREET}]))
    with pytest.raises(UnknownRowError, match=r"\['street', 'speech'\] all have a row"):
        corpus_of_row(lake, [STREET, SPEECH], row["row_id"])
    assert json.loads(row["messages"])
