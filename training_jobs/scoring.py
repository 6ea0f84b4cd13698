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
class ReplyScore:
    """One reply against its reference: errors are the fewest insertions, deletions and substitutions."""

    word_errors: int
    words: int
    char_errors: int
    chars: int
    exact: bool


@dataclass(frozen=True)
class SliceScore:
    """Sums over the rows of one slice.

    Attributes:
        word_errors: of ``words`` words in the references.
        wer: word errors by reference words; ``None`` where the references hold no word.
        cer: the same for characters, without the spaces.
        exact_match: share of rows whose words are all right and in order.
        no_reply: rows without a reply, which count as failures in all figures.
    """

    rows: int
    word_errors: int
    words: int
    wer: float | None
    cer: float | None
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


def score_reply(reference: str, hypothesis: str) -> ReplyScore:
    """Word and character errors (Levenshtein, by jiwer) of ``hypothesis`` after :func:`normalise` of both."""
    wanted, said = normalise(reference), normalise(hypothesis)
    words = jiwer.process_words(wanted, said)
    chars = jiwer.process_characters(wanted.replace(" ", ""), said.replace(" ", ""))
    return ReplyScore(
        word_errors=words.substitutions + words.deletions + words.insertions,
        words=words.hits + words.substitutions + words.deletions,
        char_errors=chars.substitutions + chars.deletions + chars.insertions,
        chars=chars.hits + chars.substitutions + chars.deletions,
        # A reply without a word is never right, not even where the reference has none.
        exact=bool(said) and wanted == said,
    )


def aggregate(scores: Sequence[ReplyScore], no_reply: int) -> SliceScore | None:
    """Sums over one slice; ``None`` for a slice without rows, which has no score rather than one of 0."""
    if not scores:
        return None
    word_errors, words = sum(score.word_errors for score in scores), sum(score.words for score in scores)
    char_errors, chars = sum(score.char_errors for score in scores), sum(score.chars for score in scores)
    return SliceScore(
        rows=len(scores),
        word_errors=word_errors,
        words=words,
        wer=word_errors / words if words else None,
        cer=char_errors / chars if chars else None,
        exact_match=sum(score.exact for score in scores) / len(scores),
        no_reply=no_reply,
    )
