"""Corpora made of named files, and one with quarantined rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from reviewing import made_corpus

from assets.corpora.config import CorpusEntry
from validation.lake import Lake


@pytest.fixture
def lay(tmp_path: Path) -> Callable[[dict[str, bytes | str]], Path]:
    """``lay({name: content})``: a root with these files."""

    def out(contents: dict[str, bytes | str]) -> Path:
        for name, content in contents.items():
            path = tmp_path / "corpus" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "corpus"

    return out


@pytest.fixture(scope="module")
def corpus_before_review(tmp_path_factory, make) -> tuple[CorpusEntry, Path]:
    """A corpus with quarantined rows, and its lake."""
    folder = tmp_path_factory.mktemp("review")
    return made_corpus(folder / "c", Lake(str(folder / "lake")), make), folder / "lake"


@pytest.fixture
def corpus(corpus_before_review, lake) -> CorpusEntry:
    """The corpus; the test's own lake holds what had become of it."""
    shutil.copytree(corpus_before_review[1], lake.root)
    return corpus_before_review[0]
