"""Programs fit_tokenizer and tokenize_audio: training split only, and nothing computed twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from training_jobs import fit_tokenizer, tokenize_audio
from training_jobs.fit_tokenizer import NoTrainingAudioError, draw_recordings
from training_jobs.jobs import FitTokenizerJob, TokenizeJob, read_result
from training_jobs.lake_audio import StoredAudioError, read_waveform
from training_jobs.profile import AudioTokenizerSettings
from training_jobs.reporting import Reporter
from validation.lake import Lake
from validation.schemas import frame_from_rows

RATE_HZ = 22_050
SETTINGS = AudioTokenizerSettings(
    kind="mel_kmeans", codes=4, max_training_seconds=100.0, iterations=3, seed=1
)


def accepted(lake: Lake, number: int, split: str = "train") -> dict[str, Any]:
    """A row of ``accepted_utterances`` with a swept tone of one second behind it."""
    path = Path(lake.full_path(f"audio_22k/c/{number}.wav"))
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(RATE_HZ) / RATE_HZ
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * (200 + 150 * number) * (1 + time_s) * time_s), RATE_HZ)
    return {
        "corpus": "c",
        "utterance_id": f"u{number}",
        "split": split,
        "tasks": ["asr"],
        "speaker": "ann",
        "language": "en",
        "text": "nine",
        "licence": "CC0-1.0",
        "source": "c.jsonl",
        "source_digest": None,
        "conversation_id": None,
        "marker": None,
        "messages": None,
        "audio_path": f"audio_22k/c/{number}.wav",
        "audio_digest": f"{number:064x}",
        "duration_s": 1.0,
    }


def make_lake(root: Path, train: int, test: int = 0) -> Lake:
    lake = Lake(str(root))
    rows = [accepted(lake, number, "train" if number < train else "test") for number in range(train + test)]
    lake.write_table("accepted_utterances", "c", frame_from_rows("accepted_utterances", rows))
    return lake


def fit(lake: Lake, output: Path) -> str:
    job = FitTokenizerJob(lake=lake.url, corpora=["c"], settings=SETTINGS, output_dir=output)
    fit_tokenizer.run(job, Reporter(lambda line: None))
    result = read_result(output)
    assert result is not None
    return str(result["tokenizer_digest"])


def tokenize(lake: Lake, fitted: Path, output: Path) -> int:
    job = TokenizeJob(lake=lake.url, tokenizer_dir=fitted / "tokenizer", corpora=["c"], output_dir=output)
    tokenize_audio.run(job, Reporter(lambda line: None))
    result = read_result(output)
    assert result is not None
    return int(result["encoded"]["c"])


def test_only_training_audio_is_drawn_and_no_more_than_asked_for(tmp_path: Path) -> None:
    lake = make_lake(tmp_path, train=6, test=4)
    everything = draw_recordings(lake, ["c"], max_seconds=100.0, seed=1)
    assert sorted(everything["audio_path"]) == [f"audio_22k/c/{number}.wav" for number in range(6)]
    some = draw_recordings(lake, ["c"], max_seconds=3.5, seed=1)
    assert some.height == 3
    assert some["audio_digest"].to_list() == everything["audio_digest"].to_list()[:3]
    assert draw_recordings(lake, ["c"], max_seconds=0.1, seed=1).height == 1


def test_without_training_audio_there_is_no_tokenizer(tmp_path: Path) -> None:
    lake = make_lake(tmp_path, train=0, test=2)
    with pytest.raises(
        NoTrainingAudioError, match=r"\['c'\] have no accepted recording in the training split"
    ):
        draw_recordings(lake, ["c"], max_seconds=1.0, seed=1)


def test_only_missing_pairs_are_encoded_and_other_tokenizers_rows_stay(tmp_path: Path) -> None:
    lake = make_lake(tmp_path / "lake", train=3)
    digest = fit(lake, tmp_path / "fit")
    assert digest == fit(lake, tmp_path / "again"), "the same audio gives the same tokenizer"
    assert tokenize(lake, tmp_path / "fit", tmp_path / "one") == 3
    assert tokenize(lake, tmp_path / "fit", tmp_path / "two") == 0
    table = lake.read_table("audio_tokens", "c")
    other = table.with_columns(pl.lit("f" * 64).alias("tokenizer_digest"))
    # Utterance 0 is no longer accepted, utterance 3 is new, and another tokenizer was in use before.
    lake.write_table("audio_tokens", "c", pl.concat([table, other]))
    rows = [accepted(lake, number) for number in (1, 2, 3)]
    lake.write_table("accepted_utterances", "c", frame_from_rows("accepted_utterances", rows))
    assert tokenize(lake, tmp_path / "fit", tmp_path / "three") == 1
    table = lake.read_table("audio_tokens", "c")
    counts = dict(table.group_by("tokenizer_digest").len().iter_rows())
    assert counts == {digest: 3, "f" * 64: 2}
    assert all(len(ids) == 13 for ids in table["token_ids"]), "12.5 codes per second, the last one begun"


def test_a_recording_that_is_gone_or_broken_is_named(tmp_path: Path) -> None:
    lake = make_lake(tmp_path, train=1)
    with pytest.raises(StoredAudioError, match=r"7\.wav is missing"):
        read_waveform(lake, "audio_22k/c/7.wav")
    Path(lake.full_path("audio_22k/c/0.wav")).write_bytes(b"RIFF")
    with pytest.raises(StoredAudioError, match=r"0\.wav cannot be read"):
        read_waveform(lake, "audio_22k/c/0.wav")
