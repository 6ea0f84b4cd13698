"""Readers of corpus layouts, and the steps from their rows to training JSONL; no Dagster here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assets.corpora.config import CorporaFile, CorporaFileError, CorpusEntry, listing_digest, load_corpora
    from assets.corpora.readers import READERS

_HOME = {
    "CorporaFile": "config",
    "CorporaFileError": "config",
    "CorpusEntry": "config",
    "listing_digest": "config",
    "load_corpora": "config",
    "READERS": "readers",
}

__all__ = ["READERS", "CorporaFile", "CorporaFileError", "CorpusEntry", "listing_digest", "load_corpora"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
