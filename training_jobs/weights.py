"""Where a registered version's weights lie: copied with it, or, where they are big, referred to.

A reference is a path with the digest of what lies there; the weights stay where training left them, and a
version whose weights have changed or gone is refused instead of served.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from validation.digests import digest_directory, digest_value
from validation.errors import UserError

COPY_LIMIT_BYTES = 2 << 30
DECODING = "decoding"  # in a version's model_config
PARTS = ("checkpoint", "tokenizer")


class WeightsError(UserError):
    """Referred weights that are gone or have changed; names the place and both digests."""


def directory_bytes(directory: Path) -> int:
    """Size of all files below ``directory``."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def model_digest(checkpoint: Path, tokenizer: Path) -> str:
    """Digest of what a version serves: its weights, text tokenizer and audio tokenizer."""
    return digest_value(
        {"checkpoint": digest_directory(checkpoint), "tokenizer": digest_directory(tokenizer)}
    )


def reference_to(checkpoint: Path, tokenizer: Path) -> dict[str, Any]:
    """What a version's ``model_config`` says of weights that are not copied."""
    return {
        name: {"path": str(directory.resolve()), "digest": digest_directory(directory)}
        for name, directory in zip(PARTS, (checkpoint, tokenizer), strict=True)
    }


def locate_weights(artifacts: Mapping[str, str], model_config: Mapping[str, Any] | None) -> tuple[Path, Path]:
    """Directories of checkpoint and audio tokenizer of a version that is being loaded.

    Args:
        artifacts: the copies kept with the version; may be empty.
        model_config: holds the references otherwise.

    Raises:
        WeightsError: if referred weights are gone or have changed.
    """
    checkpoint, tokenizer = (
        Path(artifacts[name]) if name in artifacts else _referred(name, (model_config or {})[name])
        for name in PARTS
    )
    return checkpoint, tokenizer


def _referred(name: str, reference: Mapping[str, str]) -> Path:
    path, digest = reference["path"], reference["digest"]
    directory = Path(path)
    if not directory.is_dir():
        raise WeightsError(f"the {name} of this version was registered by reference to {path}, which is gone")
    found = digest_directory(directory)
    if found != digest:
        raise WeightsError(
            f"the {name} at {path} has changed since it was registered: digest {found}, was {digest}"
        )
    return directory
