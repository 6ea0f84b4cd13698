"""The programs that train on a lake find in an object store what they find in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import extend_text_tokenizer, make_byte_tokenizer
from training_jobs import fit_tokenizer, pack, tokenize_audio
from training_jobs.evaluation_rows import held_out_rows
from training_jobs.jobs import FitTokenizerJob, PackJob, TokenizeJob, read_result
from training_jobs.plan import ARRAYS
from training_jobs.profile import AudioTokenizerSettings, MixtureItem
from training_jobs.reporting import Reporter
from validation.lake import Lake

pytestmark = [pytest.mark.s3, pytest.mark.slow]
CODES = 8


def test_tokenizer_tokens_packs_and_held_out_rows_are_those_of_a_local_lake(s3, make, tmp_path: Path) -> None:
    corpus = make.ljspeech(tmp_path / "lj", [(f"n{n}", f"text of number {n}") for n in range(8)])
    rule = {"by": "field", "field": "utterance_id", "values": ["n1", "n2"]}
    entry = make.entry(corpus.reader, corpus.root, split=[rule])
    lakes = {"local": Lake(str(tmp_path / "lake")), "store": Lake(f"{s3.url}/lake")}
    found = {}
    for name, lake in lakes.items():
        make.run_all(entry, lake)
        found[name] = programs(lake, entry.name, tmp_path / name)
    local, store = found["local"], found["store"]
    assert store["tokenizer"] == local["tokenizer"]
    tokens = [lake.read_table("audio_tokens", entry.name) for lake in lakes.values()]
    assert tokens[0].height == 8 and tokens[0].equals(tokens[1])
    for name in ARRAYS:
        packed = np.load(tmp_path / "local" / "packs" / f"{name}.npy")
        assert packed.size and np.array_equal(packed, np.load(tmp_path / "store" / "packs" / f"{name}.npy"))
    assert local["held_out"] and store["held_out"] == local["held_out"]


def programs(lake: Lake, corpus: str, folder: Path) -> dict[str, object]:
    """Run them as the graph does, one after another; what they made."""
    report = Reporter(lambda _: None)
    settings = AudioTokenizerSettings(
        kind="mel_kmeans", codes=CODES, max_training_seconds=60.0, iterations=5, seed=0
    )
    place = {"lake": lake.url, "corpora": [corpus]}
    fit_tokenizer.run(FitTokenizerJob(**place, settings=settings, output_dir=folder / "fitted"), report)
    fitted = read_result(folder / "fitted")
    assert fitted is not None
    tokenizer_dir = folder / "fitted" / "tokenizer"
    tokenize_audio.run(
        TokenizeJob(**place, tokenizer_dir=tokenizer_dir, output_dir=folder / "tokens"), report
    )
    extend_text_tokenizer(make_byte_tokenizer(), CODES).save_pretrained(folder / "model")
    digest = str(fitted["tokenizer_digest"])
    pack.run(
        PackJob(
            **place,
            model_dir=folder / "model",
            tokenizer_digest=digest,
            mixture=[MixtureItem(task="asr", ratio=1.0), MixtureItem(task="tts", ratio=1.0)],
            ratio=(1, 10, 4, 10),
            sequence_length=256,
            seed=0,
            output_dir=folder / "packs",
        ),
        report,
    )
    return {"tokenizer": digest, "held_out": held_out_rows(lake, [corpus], digest, 10, seed=0).rows}
