"""What a published model's own card states of its terms and origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from validation.strict import load_yaml

CARD_FILE = "README.md"
_FENCE = "---"


def card_header(directory: Path) -> dict[str, Any]:
    """The YAML between the first two ``---`` of the card; empty where there is none, or it is no mapping."""
    path = directory / CARD_FILE
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if (
        not lines
        or lines[0].strip() != _FENCE
        or _FENCE not in (rest := [line.strip() for line in lines[1:]])
    ):
        return {}
    try:
        header = load_yaml("\n".join(lines[1 : 1 + rest.index(_FENCE)]))
    except yaml.YAMLError:
        return {}
    return header if isinstance(header, dict) else {}


def stated_licence(directory: Path) -> str | None:
    """The licence that the card states: its name where it is one of its own (``license: other``)."""
    header = card_header(directory)
    for key in ("license_name", "license"):
        if isinstance(value := header.get(key), str) and value:
            return value
    return None
