"""Local files and directories that are there whole or not at all: written aside, then renamed."""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from validation.local_files import claimed, remove_if_left


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name to write to, which takes ``path``'s place when the block ends well and is removed when it does not.

    The file is there, empty, and is to be written as it is, not replaced. What a killed process left of it goes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{32}}\.tmp")
    for other in path.parent.iterdir():
        if ours.fullmatch(other.name):
            remove_if_left(other)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    with claimed(temporary):
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
