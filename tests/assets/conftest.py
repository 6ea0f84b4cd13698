"""Small corpora made on the spot: tones that pass every threshold, in any of the layouts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import soundfile as sf
from speech_like import speech_like

from assets.audio.quality import measure_corpus
from assets.audio.resample import make_audio_22k
from assets.corpora.acceptance import accept
from assets.corpora.config import CorpusEntry
from assets.corpora.ingest import ingest
from assets.corpora.training_jsonl import build_jsonl
from validation.lake import Lake
from validation.steps import StepOutcome

SHARED = Path(__file__).resolve().parents[2] / "../shared"


def shared_data(name: str) -> Path:
    """A folder of the real recordings, or a skip."""
    folder = SHARED / "data" / name
    if not folder.exists():
        pytest.skip(f"{folder} is not here")
    return folder.resolve()


def write_speech(path: Path, seconds: float = 1.0, rate: int = 16_000, seed: int = 0) -> Path:
    """A good recording at ``path``, in the format of its extension."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, speech_like(seconds, rate, seed), rate)
    return path


def entry_of(reader: str, root: Path | str, **more: Any) -> CorpusEntry:
    """A corpus entry with the least that one needs."""
    values = {"name": "made", "reader": reader, "root": str(root), "licence": "CC0-1.0", "language": "en"}
    return CorpusEntry.model_validate({**values, **more})


def ljspeech_corpus(root: Path, rows: Sequence[tuple[str, str]], rate: int = 16_000) -> CorpusEntry:
    """One second of audio per row."""
    for seed, (name, _) in enumerate(rows):
        write_speech(root / "wavs" / f"{name}.wav", rate=rate, seed=seed)
    lines = [f"{name}|{text}|{text}" for name, text in rows]
    (root / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return entry_of("ljspeech", root)


def jsonl_corpus(root: Path, rows: Sequence[dict[str, Any]], **more: Any) -> CorpusEntry:
    """The rows in one file; the audio that they name is made, each of one second."""
    root.mkdir(parents=True, exist_ok=True)
    audios = sorted({audio for row in rows for audio in row.get("audios", [])})
    for seed, audio in enumerate(audios):
        write_speech(root / audio, seed=seed)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (root / "rows.jsonl").write_text(text, encoding="utf-8")
    return entry_of("jsonl", root, **more)


def run_all(entry: CorpusEntry, lake: Lake, workers: int = 1) -> list[StepOutcome]:
    """All data steps of one corpus."""
    return [
        ingest(entry, lake),
        make_audio_22k(entry, lake, workers=workers),
        measure_corpus(entry, lake),
        accept(entry, lake),
        build_jsonl(entry, lake),
    ]


def files_of(root: Path) -> dict[str, bytes]:
    """Every file below ``root`` with its bytes."""
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def rows_of(folder: Path) -> int:
    """How many rows the Parquet files of a folder have."""
    return sum(pq.read_metadata(path).num_rows for path in folder.glob("*.parquet"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """The functions above: with import mode importlib, tests cannot import them from here."""
    return SimpleNamespace(
        speech_like=speech_like,
        speech=write_speech,
        entry=entry_of,
        ljspeech=ljspeech_corpus,
        jsonl=jsonl_corpus,
        run_all=run_all,
        files_of=files_of,
        rows_of=rows_of,
        shared=shared_data,
    )
