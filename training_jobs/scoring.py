"""How replies are scored: word errors over a stated normalisation, exact match, and their sums per slice.

Nothing here looks at the reference before the reply is complete, no reply is left out for being empty, and no
word error rate is capped: a reply twice as long as its reference can score above 1.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import jiwer

# Han with its extensions and compatibility forms, the ideographic zero and iteration marks, and kana: written
# without spaces, so that each character is scored as a word of its own.
_CJK = re.compile("[\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_APOSTROPHES = str.maketrans("", "", "'’ʼ`")


@dataclass(frozen=True)
class WordScore:
    """One reply against its reference."""

    errors: int
    words: int
    exact: bool


@dataclass(frozen=True)
class SliceScore:
    """Sums over the rows of one slice.

    Attributes:
        wer: word errors by reference words; ``None`` where the references hold no word.
        exact_match: share of rows whose words are all right and in order.
        no_reply: rows without a reply, which count as failures in both figures.
    """

    rows: int
    errors: int
    words: int
    wer: float | None
    exact_match: float
    no_reply: int


def normalise(text: str) -> str:
    """Words of ``text`` in lower case, separated by single spaces.

    Compatibility forms are folded (NFKC); apostrophes go, all other punctuation and symbols part words; every
    CJK character is a word of its own, so that Mandarin is scored per character.
    """
    folded = unicodedata.normalize("NFKC", text).lower().translate(_APOSTROPHES)
    spaced = "".join(
        " " if unicodedata.category(character)[0] in "PSZC" else character for character in folded
    )
    return " ".join(_CJK.sub(r" \g<0> ", spaced).split())


def score_words(reference: str, hypothesis: str) -> WordScore:
    """Word errors (Levenshtein, by jiwer) of ``hypothesis`` after :func:`normalise` of both."""
    wanted, said = normalise(reference), normalise(hypothesis)
    counts = jiwer.process_words(wanted, said)
    errors = counts.substitutions + counts.deletions + counts.insertions
    words = counts.hits + counts.substitutions + counts.deletions
    # A reply without a word is never right, not even where the reference has none.
    return WordScore(errors=errors, words=words, exact=bool(said) and wanted == said)


def aggregate(scores: Sequence[WordScore], no_reply: int) -> SliceScore | None:
    """Sums over one slice; ``None`` for a slice without rows, which has no score rather than one of 0."""
    if not scores:
        return None
    errors, words = sum(score.errors for score in scores), sum(score.words for score in scores)
    return SliceScore(
        rows=len(scores),
        errors=errors,
        words=words,
        wer=errors / words if words else None,
        exact_match=sum(score.exact for score in scores) / len(scores),
        no_reply=no_reply,
    )
