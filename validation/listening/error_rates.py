"""Word and character error rates of a transcript against what was heard."""

from __future__ import annotations

import unicodedata

import jiwer

from validation.text.scripts import UNSPACED

# In a shorter one, a single figure written as digits is an error rate of one half.
_FEWEST_WORDS = 3
_FEWEST_CHARACTERS = 8
_WORD_KINDS = ("L", "M", "N")  # Unicode's letters, marks (the vowels of India's and Thai script) and numbers


def error_rates(text: str, heard: str, language: str) -> tuple[float | None, float | None]:
    """Words and characters that must change to make ``text`` of ``heard``, per word and character of ``text``.

    Compared without case, punctuation and compatibility forms (NFKC). Figures are not spelled out, so that a text
    full of them reads high; a rate may be above 1.

    Args:
        language: A primary language tag; words are counted only where spaces part them.

    Returns:
        ``None`` for each rate for which the text is too short to say anything.
    """
    wanted, found = _words(text), _words(heard)
    is_unspaced = language in UNSPACED
    glue = "" if is_unspaced else " "
    wanted_text, found_text = glue.join(wanted), glue.join(found)
    words = float(jiwer.wer(" ".join(wanted), " ".join(found))) if len(wanted) >= _FEWEST_WORDS else None
    long_enough = len(wanted_text) >= _FEWEST_CHARACTERS and (is_unspaced or words is not None)
    characters = float(jiwer.cer(wanted_text, found_text)) if long_enough else None
    return None if is_unspaced else words, characters


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    return "".join(
        one if one == "'" or unicodedata.category(one)[0] in _WORD_KINDS else " " for one in plain
    ).split()
