"""The normal form of a transcript: one spelling for what reads the same."""

from __future__ import annotations

import re
import unicodedata

import polars as pl

# Marks that nobody sees and that make two equal texts differ: zero-width space, word joiner, byte order mark, soft
# hyphen. The zero-width joiners stay: Persian and the scripts of India are spelled with them.
_INVISIBLE = "[\u200b\u2060\ufeff\u00ad]"
# What is none of printable ASCII, and spaces that are not alone between two words.
_MAY_CHANGE = r"[^\x20-\x7E]| {2}|^ | $"
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
    return pl.col(column).map_batches(_normal_texts, return_dtype=pl.String)


def _normal_texts(texts: pl.Series) -> pl.Series:
    # Most texts are normal as they are, which costs a tenth to see of what it costs to make them so.
    odd = texts.str.contains(_MAY_CHANGE).arg_true()
    if not len(odd):
        return texts
    plain = texts.gather(odd).str.replace_all(_INVISIBLE, "").str.normalize("NFC")
    # A lone space, of which there are most, is left alone.
    spaced = plain.str.replace_all(r"[\s\x1c-\x1f]{2,}|[[\s\x1c-\x1f]--[ ]]", " ")
    return texts.clone().scatter(odd, spaced.str.strip_chars(" "))
