"""The normal form of a transcript: one spelling for what reads the same."""

from __future__ import annotations

import re
import unicodedata

import polars as pl

# Marks that nobody sees and that make two equal texts differ: zero-width space, word joiner, byte order mark, soft
# hyphen. The zero-width joiners stay: Persian and the scripts of India are spelled with them.
_INVISIBLE = "[\u200b\u2060\ufeff\u00ad]"
_SPACES = re.compile(r"\s+")


def normal_text(text: str) -> str:
    """NFC, without invisible marks, runs of white space as one space, none at the ends.

    NFC and not NFKC: it never changes what is read (NFKC would make ``m²`` to ``m2`` and ``ﷺ`` to eighteen letters).
    Case, punctuation and digits stay as the corpus has them.
    """
    # The marks go first: between a letter and its accent, one would keep them apart.
    return _SPACES.sub(" ", unicodedata.normalize("NFC", re.sub(_INVISIBLE, "", text))).strip()


def normal_text_expr(column: str) -> pl.Expr:
    """:func:`normal_text` of a column."""
    plain = pl.col(column).str.replace_all(_INVISIBLE, "").str.normalize("NFC")
    # A lone space, of which there are most, is left alone.
    return plain.str.replace_all(r"[\s\x1c-\x1f]{2,}|[[\s\x1c-\x1f]--[ ]]", " ").str.strip_chars(" ")
