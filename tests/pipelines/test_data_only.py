"""``voxline run --data-only`` prepares the corpora and stops there, and says what became of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile as sf

PROJECT = Path(__file__).parents[2]
CORPORA = """\
corpora:
  - {name: tones, reader: untranscribed, root: tones, options: {purpose: tokenizer}, licence: CC0-1.0, language: en,
     budget: {lost: 1.0}}
"""


def voxline(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipelines.cli", *words, "--home", str(folder / "home")]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder, env=environment)


def test_the_corpora_are_prepared_and_nothing_is_trained(tmp_path: Path) -> None:
    (tmp_path / "tones").mkdir()
    rng = np.random.default_rng(0)
    sf.write(tmp_path / "tones" / "a.wav", 0.1 * rng.standard_normal(16_000), 16_000)
    (tmp_path / "tones" / "b.wav").write_bytes(b"no audio")
    (tmp_path / "corpora.yaml").write_text(CORPORA, encoding="utf-8")
    answer = voxline(tmp_path, "run", "--data-only", "--corpora", "corpora.yaml")
    assert answer.returncode == 0, answer.stderr
    (row,) = [line.split() for line in answer.stdout.splitlines() if line.strip().startswith("tones   ")][:1]
    assert row[:6] == ["tones", "2", "0", "1", "0", "1"], answer.stdout
    assert "not_audio" in answer.stdout and "made: raw_utterances, audio_22k" in answer.stdout
    assert not (tmp_path / "home" / "training").exists()
