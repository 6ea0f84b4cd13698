"""SHA-256 digests of values, files and tables: the keys by which a step knows that nothing changed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import IO, Any

_BLOCK = 1 << 20


def digest_bytes(data: bytes) -> str:
    """Hexadecimal SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def digest_value(value: Any) -> str:
    """Digest of a JSON-serialisable value, independent of the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    # A file's name need not be UTF-8; what of it is not, Python keeps as lone surrogates.
    return digest_bytes(text.encode("utf-8", "backslashreplace"))


def digest_stream(stream: IO[bytes]) -> str:
    """Digest of what is left in a binary stream, read in blocks of 1 MiB."""
    state = hashlib.sha256()
    while block := stream.read(_BLOCK):
        state.update(block)
    return state.hexdigest()


def digest_directory(directory: Path) -> str:
    """Digest of the names and contents of all files below ``directory``."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    parts = []
    for path in files:
        with path.open("rb") as stream:
            parts.append([path.relative_to(directory).as_posix(), digest_stream(stream)])
    return digest_value(parts)
