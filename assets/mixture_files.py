"""Which corpus reads a data file that a mixture in VITA-Audio's form names."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from assets.corpora import CorpusEntry
from assets.corpora.options import JsonLinesOptions
from assets.corpora.root import CorpusRoot
from assets.corpora.training_jsonl import jsonl_path
from validation.lake import Lake
from validation.remote import is_s3

_READER = "jsonl"  # the one whose corpora are files of training rows


class MixtureFiles:
    """Finds data files: our own ``jsonl/<corpus>/train.jsonl``, and those that corpora of reader ``jsonl`` read.

    Args:
        are_made: Whether our own must be there: before a run they need not be.
    """

    def __init__(self, lake: Lake, corpora: Sequence[CorpusEntry], are_made: bool = True) -> None:
        self._lake = lake
        self._corpora = corpora
        self._are_made = are_made

    def find(self, path: str) -> tuple[str, str] | str:
        """The corpus that a file is of, and what it is called in the lake or below the corpus' root; else the fault."""
        real = path if is_s3(path) else str(Path(path).resolve())
        lake = self._lake.url if not self._lake.is_local else str(Path(self._lake.root).resolve())
        for entry in self._corpora:
            own = jsonl_path(entry.name, "train")
            if _below(real, lake) == own:
                if self._are_made and not self._lake.exists(own):
                    return "training_jsonl has not been made yet"
                return entry.name, own
            if _below(real, lake) == jsonl_path(entry.name, "test"):
                return f"these are the held-out rows of corpus {entry.name}, which are not trained on"
        for entry in self._corpora:
            if entry.reader == _READER and isinstance(entry.options, JsonLinesOptions):
                root = CorpusRoot(entry.root)
                name = _below(real, entry.root.rstrip("/") if is_s3(entry.root) else root.path)
                if name is not None and fnmatchcase(name, entry.options.files):
                    return (entry.name, name) if root.has(name) else "there is no such file"
        return self._unread(path)

    def _unread(self, path: str) -> str:
        if not is_s3(path) and not Path(path).is_file():
            return f"there is no file {path}"
        folder, name = posixpath.split(path)
        return (
            "no corpus reads it; add to the corpora file: {name: FILL_IN, reader: jsonl, "
            f"root: {folder}, options: {{files: {name}}}, licence: FILL_IN, language: FILL_IN}}"
        )


def _below(path: str, folder: str) -> str | None:
    """The path relative to the folder, if it lies below it."""
    start = folder.rstrip("/") + "/"
    return path.removeprefix(start) if path.startswith(start) else None
