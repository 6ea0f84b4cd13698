"""Local files and directories that are there whole or not at all: written aside, then renamed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to, which takes ``path``'s place when the block ends well and is removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def replacing_directory(path: Path) -> Iterator[Path]:
    """A directory to write into, which takes ``path``'s place when the block ends well.

    An older ``path`` is gone for a moment: for directories that nobody reads before a file elsewhere says so.
    """
    working = path.with_name(f".{path.name}")
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    yield working
    shutil.rmtree(path, ignore_errors=True)
    working.replace(path)
