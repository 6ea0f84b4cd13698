"""Words of corpora and programs on a terminal: shown as they are, and never taken for its commands or for markup."""

from __future__ import annotations

import re

from rich import markup

# C0 but line ends and tabs, delete, and C1, which some terminals take for the start of a command too.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def escape(text: str) -> str:
    """The text for a console of rich; control characters as ``\\x1b``."""
    return markup.escape(_COMMANDS.sub(lambda found: f"\\x{ord(found[0]):02x}", text))
