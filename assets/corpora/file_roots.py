"""Roots as a corpora file writes them: relative to it, and with environment variables as ``${NAME}``."""

from __future__ import annotations

import os
import re
from pathlib import Path

from validation.errors import UserError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class CorporaFileError(UserError):
    """A corpora file that says something that is not allowed; names the file, the entry, the value and what is."""


def filled_root(path: Path, label: str, root: str) -> str:
    """The absolute path or URL that an entry's root stands for.

    Raises:
        CorporaFileError: for a variable that is not set.
    """
    for name in _VARIABLE.findall(root):
        if name not in os.environ:
            raise CorporaFileError(
                f"{path}: {label}: root: {root!r} names the variable {name}, which is not set"
            )
    filled = _VARIABLE.sub(lambda match: os.environ[match[1]], root)
    return filled if "://" in filled or not filled else str((path.parent / filled).resolve())
