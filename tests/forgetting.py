"""A corpus of two speakers one of whom is to be forgotten, prepared, and searched for what is left of him."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from assets.audio.fingerprints import make_fingerprints
from assets.workspace import Workspace
from pipelines.forgetting import forget, opened
from validation.forgotten import Selector
from validation.lake import Lake
from validation.leakage_duplicates import find_duplicates
from validation.schemas import frame_from_rows

ANN = Selector("speaker", "zebediah")
TEXTS = {"a1": "quincunx rows", "a2": "the ochre lantern", "b1": "plain words", "b2": "other words"}
SPEAKERS = {"a1": "zebediah", "a2": "zebediah", "b1": "ben", "b2": "ben"}


def table_corpus(root: Path, make: Any, name: str = "made", **more: Any) -> Any:
    """Four recordings of two speakers; two of the second one's are copies of the first one's in ``copied``."""
    lines = ["file,text,who"]
    for seed, (row, text) in enumerate(TEXTS.items()):
        make.speech(root / "audio" / SPEAKERS[row] / f"{row}.wav", seed=seed)
        lines.append(f"audio/{SPEAKERS[row]}/{row}.wav,{text},{SPEAKERS[row]}")
    (root / "rows.csv").write_text("\n".join(lines) + "\n")
    options = {"file": "rows.csv", "audio": "file", "text": "text", "speaker": "who"}
    return make.entry("table", root, name=name, options=options, **more)


def prepare(entry: Any, lake: Lake, make: Any) -> None:
    """All data steps, as the graph runs them."""
    make.run_all(entry, lake)
    make_fingerprints(entry, lake)
    find_duplicates(lake, [entry.name])
    digests = lake.read_table("accepted_utterances", entry.name)["audio_digest"].to_list()
    tokens = [
        {
            "corpus": entry.name,
            "audio_digest": digest,
            "tokenizer_digest": "c" * 64,
            "augmentation_digest": "",
            "token_ids": [1, 2],
            "duration_s": 1.0,
        }
        for digest in sorted(set(digests))
    ]
    lake.write_table("audio_tokens", entry.name, frame_from_rows("audio_tokens", tokens))


def apply(workspace: Workspace, selector: Selector, copies: bool = False) -> Any:
    with opened(workspace, selector, copies) as request:
        return forget(request, "tester", "asked by letter")


def holds(folder: Path, *needles: str) -> list[str]:
    """Files with one of the needles in their bytes, Parquet's unpacked, or in their names."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        text = path.read_bytes()
        if path.suffix == ".parquet":
            text += json.dumps(pl.read_parquet(path).to_dicts(), default=str, ensure_ascii=False).encode()
        named = path.relative_to(folder).as_posix().encode()
        found += [str(path) for needle in needles if needle.encode() in text or needle.encode() in named]
    return found
