"""Texts of others on a page: what is no sign that one sees is made one."""

from __future__ import annotations

import unicodedata

# Not to be shown as they are: controls, surrogates, private and unassigned signs, and marks that turn the direction of
# what follows. Joiners belong to the spelling of some languages.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")


def visible(text: str) -> str:
    """The text with its unseen signs as their code points."""
    if text.isprintable():  # sounds and pictures are long
        return text
    return "".join(_seen(sign) for sign in text)


def _seen(sign: str) -> str:
    if sign in _JOINERS or unicodedata.category(sign) not in _UNSEEN:
        return sign
    return f"⟨U+{ord(sign):04X}⟩"
