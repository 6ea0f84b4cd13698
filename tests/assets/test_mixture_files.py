"""Which corpus a mixture's data file belongs to, and what is said where it belongs to none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from assets.mixture_files import MixtureFiles
from validation.lake import Lake


@pytest.fixture
def files(tmp_path: Path, make: Any) -> MixtureFiles:
    lake = Lake(str(tmp_path / "lake"))
    for split in ("train", "test"):
        with lake.atomic_write(f"jsonl/made/{split}.jsonl") as stream:
            stream.write(b"{}\n")
    root = tmp_path / "theirs"
    (root / "deep").mkdir(parents=True)
    (root / "deep/rows.jsonl").write_text("{}\n")
    (root / "notes.jsonl").write_text("{}\n")
    return MixtureFiles(
        lake,
        [
            make.entry("ljspeech", tmp_path / "audio"),
            make.entry("jsonl", root, name="theirs", options={"files": "deep/*.jsonl"}),
        ],
    )


def test_our_own_rows_and_those_of_a_jsonl_corpus_are_found(tmp_path: Path, files: MixtureFiles) -> None:
    assert files.find(f"{tmp_path}/lake/jsonl/made/train.jsonl") == ("made", "jsonl/made/train.jsonl")
    assert files.find(f"{tmp_path}/theirs/deep/rows.jsonl") == ("theirs", "deep/rows.jsonl")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "theirs/deep/rows.jsonl")
    assert files.find(f"{tmp_path}/link.jsonl") == ("theirs", "deep/rows.jsonl")


def test_what_cannot_be_drawn_from_is_said_with_what_to_do(tmp_path: Path, files: MixtureFiles) -> None:
    assert files.find(f"{tmp_path}/lake/jsonl/made/test.jsonl") == (
        "these are the held-out rows of corpus made, which are not trained on"
    )
    assert files.find(f"{tmp_path}/lake/jsonl/theirs/train.jsonl") == "training_jsonl has not been made yet"
    assert files.find(f"{tmp_path}/theirs/deep/gone.jsonl") == "there is no such file"
    assert files.find(f"{tmp_path}/gone.jsonl") == f"there is no file {tmp_path}/gone.jsonl"
    assert files.find(f"{tmp_path}/theirs/notes.jsonl") == (
        "no corpus reads it; add to the corpora file: {name: FILL_IN, reader: jsonl, "
        f"root: {tmp_path}/theirs, options: {{files: notes.jsonl}}, licence: FILL_IN, language: FILL_IN}}"
    )
