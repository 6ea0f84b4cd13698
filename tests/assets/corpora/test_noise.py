"""Corpora of noise: named by recipes, judged by what noise can be, and never trained on as speech."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile
import yaml

from assets.corpora import CorporaFileError, load_corpora
from assets.corpora.config import CorporaFile

NOISE = {"copies": 1, "noise": {"corpus": "street", "snr_db": [5, 20]}}


def load(folder: Path, purpose: str = "noise", **more: Any) -> CorporaFile:
    """``speech`` and ``street``; ``more`` are keys of the file, and ``own`` a recipe of ``speech``."""
    own = {"augmentation": more.pop("own")} if "own" in more else {}
    common = {"root": str(folder), "licence": "CC0-1.0", "language": "en"}
    speech = {"name": "speech", "reader": "librispeech", **common, **own}
    street = {"name": "street", "reader": "untranscribed", "options": {"purpose": purpose}, **common}
    path = folder / "corpora.yaml"
    path.write_text(yaml.safe_dump({"corpora": [speech, street], **more}), encoding="utf-8")
    return load_corpora(path)


def test_a_corpus_has_its_own_recipe_or_that_of_the_file(tmp_path: Path) -> None:
    both = load(tmp_path, augmentation=NOISE, own={"copies": 0})
    assert (both.recipe("speech").copies, both.recipe("street").copies) == (0, 1)
    assert load(tmp_path, augmentation=NOISE).recipe("speech").copies == 1
    assert load(tmp_path).recipe("speech").copies == 0


@pytest.mark.parametrize(
    ("purpose", "more", "said"),
    [
        ("noise", {"augmentation": NOISE | {"noise": {"corpus": "road", "snr_db": [5, 20]}}},
         r"augmentation: noise.corpus: there is no corpus 'road'; .* purpose: noise are \['street'\]"),
        ("tokenizer", {"augmentation": NOISE},
         r"corpus 'street' is none of noise; .* are not in this file"),
        ("noise", {"own": NOISE | {"noise": {"corpus": "speech", "snr_db": [5, 20]}}},
         r"corpus 'speech': augmentation: noise.corpus: corpus 'speech' is none of noise"),
        ("noise", {"own": {"copies": 1, "gain": {"db": [6, -6]}}},
         r"'speech': augmentation.gain.db: the range \[6, -6\] is empty"),
        ("noise", {"augmentation": {"copies": 1, "reverb": {}}},
         r"augmentation: unknown key 'reverb'; allowed are copies, tasks, seed, speed, pitch"),
        ("noise", {"augmentation": []}, "augmentation: wanted are keys with values; allowed keys are copies"),
    ],
)  # fmt: skip
def test_refused_before_any_work(tmp_path: Path, purpose: str, more: dict[str, Any], said: str) -> None:
    with pytest.raises(CorporaFileError, match=said):
        load(tmp_path, purpose, **more)


def test_noise_itself_has_no_variants(tmp_path: Path, make) -> None:
    with pytest.raises(ValueError, match="a corpus of noise has no training rows"):
        make.entry("untranscribed", tmp_path, options={"purpose": "noise"}, augmentation=NOISE)


def test_real_noise_is_accepted_and_becomes_no_training_row(make, lake) -> None:
    entry = make.entry("untranscribed", make.shared("quality/noise"), options={"purpose": "noise"})
    make.run_all(entry, lake)
    accepted = lake.read_table("accepted_utterances", "made")
    assert accepted.height == 6
    assert set(map(tuple, accepted["tasks"].to_list())) == {("noise",)}
    assert lake.read_table("training_rows", "made").is_empty()


def test_what_is_broken_is_so_in_noise_too(tmp_path: Path, make, lake) -> None:
    soundfile.write(tmp_path / "silent.wav", [0.0] * 16_000, 16_000)
    make.speech(tmp_path / "babble.wav")
    entry = make.entry("untranscribed", tmp_path, options={"purpose": "noise"})
    make.run_all(entry, lake)
    reasons = dict(lake.read_table("ledger").select("utterance_id", "reason").iter_rows())
    assert reasons == {"silent.wav": "silent", "babble.wav": "accepted"}


def test_limits_of_its_own_come_before_those_of_noise(tmp_path: Path, make) -> None:
    entry = make.entry(
        "untranscribed", tmp_path, options={"purpose": "noise"}, thresholds={"max_duration_s": 30.0}
    )
    assert (entry.limits.max_duration_s, entry.limits.min_bandwidth_hz) == (30.0, 0.0)
    assert make.entry("librispeech", tmp_path).limits.min_bandwidth_hz > 0


def test_a_changed_recipe_reads_no_audio_again(tmp_path: Path, make, lake) -> None:
    entry = make.ljspeech(tmp_path / "lj", [("one", "one two three four")])
    assert all(step.recomputed for step in make.run_all(entry, lake))
    own = entry.model_copy(update={"augmentation": load(tmp_path, augmentation=NOISE).augmentation})
    assert not any(step.recomputed for step in make.run_all(own, lake))
