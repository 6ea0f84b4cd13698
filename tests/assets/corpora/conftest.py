"""Corpora made of named files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


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
