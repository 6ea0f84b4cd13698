"""What an audio tokenizer hears: the view at 16 kHz where it works at that rate, and nothing resampled twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from models import load_audio_tokenizer
from training_jobs import fit_tokenizer, tokenize_audio
from training_jobs.heard_audio import MissingViewError
from training_jobs.jobs import FitTokenizerJob, TokenizeJob, read_result
from training_jobs.profile import AudioTokenizerSettings
from training_jobs.reporting import Reporter
from validation.lake import Lake
from validation.schemas import frame_from_rows

SOURCE_HZ = 44_100


def utterance(lake: Lake, number: int, has_view: bool, corpus: str) -> dict[str, Any]:
    """A row of ``accepted_utterances`` with the stored forms of a sweep of one second."""
    time_s = np.arange(SOURCE_HZ) / SOURCE_HZ
    source = 0.5 * np.sin(2 * np.pi * (200 + 150 * number) * (1 + time_s) * time_s)
    row: dict[str, Any] = {
        "corpus": corpus,
        "utterance_id": f"u{number}",
        "split": "train",
        "tasks": ["asr"],
        "speaker": "ann",
        "language": "en",
        "text": "nine",
        "licence": "CC0-1.0",
        "source": "c.jsonl",
        "duration_s": 1.0,
    }
    for name, rate in (("audio", 22_050), ("view", 16_000)) if has_view else (("audio", 22_050),):
        path = f"{name}/{corpus}/{number}.wav"
        Path(lake.full_path(path)).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(lake.full_path(path), soxr.resample(source, SOURCE_HZ, rate), rate, subtype="PCM_16")
        row |= {f"{name}_path": path, f"{name}_digest": f"{number + 100 * len(name):064x}"}
    return row


def make(lake: Lake, has_view: bool = True, corpus: str = "c") -> None:
    rows = [utterance(lake, number, has_view, corpus) for number in range(5)]
    lake.write_table("accepted_utterances", corpus, frame_from_rows("accepted_utterances", rows))


def fit(lake: Lake, output: Path, sample_rate: int | str = "auto", corpora: tuple[str, ...] = ("c",)) -> Path:
    settings = AudioTokenizerSettings(
        kind="mel_kmeans", sample_rate=sample_rate, codes=8, max_training_seconds=100.0, iterations=3, seed=1
    )
    job = FitTokenizerJob(lake=lake.url, corpora=list(corpora), settings=settings, output_dir=output)
    fit_tokenizer.run(job, Reporter(lambda line: None))
    return output / "tokenizer"


def tokenize(lake: Lake, tokenizer_dir: Path, output: Path) -> int:
    job = TokenizeJob(lake=lake.url, tokenizer_dir=tokenizer_dir, corpora=["c"], output_dir=output)
    tokenize_audio.run(job, Reporter(lambda line: None))
    result = read_result(output)
    assert result is not None
    return int(result["encoded"]["c"])


def test_tokens_come_from_the_view_where_every_corpus_has_one(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    make(lake)
    directory = fit(lake, tmp_path / "fit")
    tokenizer = load_audio_tokenizer(directory)
    assert tokenizer.sample_rate == 16_000
    for path in Path(lake.full_path("audio/c")).iterdir():
        path.unlink()  # the other form is not so much as opened
    assert tokenize(lake, directory, tmp_path / "one") == 5
    table = lake.read_table("audio_tokens", "c")
    rows = lake.read_table("accepted_utterances", "c")
    assert table["view_digest"].to_list() == rows.sort("audio_digest")["view_digest"].to_list()
    for digest, path in rows.select("audio_digest", "view_path").iter_rows():
        samples, rate = soundfile.read(lake.full_path(path), dtype="float32")
        (found,) = table.filter(audio_digest=digest)["token_ids"].to_list()
        assert rate == 16_000 and found == tokenizer.encode(samples, rate)
    assert tokenize(lake, directory, tmp_path / "two") == 0


def test_another_view_of_the_same_audio_is_heard_anew(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    make(lake)
    directory = fit(lake, tmp_path / "fit")
    tokenize(lake, directory, tmp_path / "one")
    rows = lake.read_table("accepted_utterances", "c").to_dicts()
    rows[2]["view_digest"] = "e" * 64
    lake.write_table("accepted_utterances", "c", frame_from_rows("accepted_utterances", rows))
    assert tokenize(lake, directory, tmp_path / "two") == 1
    table = lake.read_table("audio_tokens", "c")
    assert table.height == 5 and "e" * 64 in table["view_digest"].to_list()


def test_without_a_view_everywhere_the_stored_audio_is_heard(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    make(lake)
    make(lake, has_view=False, corpus="other")
    tokenizer = load_audio_tokenizer(fit(lake, tmp_path / "both", corpora=("c", "other")))
    assert tokenizer.sample_rate == 22_050
    assert load_audio_tokenizer(fit(lake, tmp_path / "told", 22_050)).sample_rate == 22_050


def test_a_view_that_is_wanted_and_missing_is_named_with_the_setting(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    make(lake)
    make(lake, has_view=False, corpus="other")
    with pytest.raises(MissingViewError, match=r"16000 Hz.*\['other'\].*audio: \{view_16k: true\}"):
        fit(lake, tmp_path / "fit", 16_000, ("c", "other"))
    directory = fit(lake, tmp_path / "fit")
    make(lake, has_view=False)
    with pytest.raises(MissingViewError, match=r"\['c'\]"):
        tokenize(lake, directory, tmp_path / "tokens")


def test_at_16_khz_the_codes_are_those_of_the_same_sound_at_22_khz(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path / "lake"))
    make(lake)
    tokenizer = load_audio_tokenizer(fit(lake, tmp_path / "fit"))
    same = total = 0
    for number in range(5):
        forms = [soundfile.read(lake.full_path(f"{name}/c/{number}.wav")) for name in ("audio", "view")]
        one, other = (tokenizer.encode(*form) for form in forms)
        assert len(one) == len(other) == 13
        same, total = same + sum(a == b for a, b in zip(one, other, strict=True)), total + 13
    assert same >= 0.9 * total
