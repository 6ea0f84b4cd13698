"""What lies in a home or a lake, to be compared."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl

# Their times and counts of what was done now differ from run to run; nothing is made from those.
_OF_ITS_RUN = ("manifests/", "profiles/", "tables/ledger_history/")


def digest(folder: Path) -> dict[str, str]:
    """Every file, by its path, with a digest of its bytes; those of a run's own time have none."""
    return {
        path.relative_to(folder).as_posix(): _digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def ends(lake: Path) -> set[tuple[str, str, str]]:
    """Corpus, id and reason of each row of the ledger."""
    found = set()
    for path in sorted((lake / "tables/ledger").glob("[!.]*.parquet")):
        found |= set(pl.read_parquet(path).select("corpus", "utterance_id", "reason").rows())
    return found


def _digest(path: Path) -> str:
    if any(f"/{name}" in str(path) for name in _OF_ITS_RUN):
        return ""
    content = path.read_bytes()
    if "/tables/forgotten/" in str(path):  # says when
        content = json.dumps(pl.read_parquet(path).drop("at").to_dicts()).encode()
    return hashlib.sha256(content).hexdigest()
