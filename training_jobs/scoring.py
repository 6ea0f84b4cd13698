"""How replies are scored: word errors after a published normalisation, exact match, and their sums per slice.

Nothing here looks at the reference before the reply is complete, no reply is left out for being empty, and no
word error rate is capped: a reply twice as long as its reference can score above 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import jiwer

from training_jobs.normalisation import normalise_pair, normaliser_of


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
        word_errors: of ``words`` words in the references; of characters in languages without spaces.
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


def score_reply(
    reference: str, hypothesis: str, language: str = "en", answers: Iterable[str] = ()
) -> ReplyScore:
    """Word and character errors (Levenshtein, by jiwer) of ``hypothesis``, both normalised for the language.

    Args:
        answers: other texts that are as right as the reference; they count for ``exact`` only.
    """
    wanted, said = normalise_pair(reference, hypothesis, language)
    words = jiwer.process_words(wanted, said)
    chars = jiwer.process_characters(wanted.replace(" ", ""), said.replace(" ", ""))
    return ReplyScore(
        word_errors=words.substitutions + words.deletions + words.insertions,
        words=words.hits + words.substitutions + words.deletions,
        char_errors=chars.substitutions + chars.deletions + chars.insertions,
        chars=chars.hits + chars.substitutions + chars.deletions,
        # A reply without a word is never right, not even where the reference has none.
        exact=bool(said) and any(_is_same(answer, hypothesis, language) for answer in (reference, *answers)),
    )


def holds_answer(answers: Iterable[str], hypothesis: str, language: str) -> bool:
    """Whether one of the answers is said in ``hypothesis``, word for word; after normalisation.

    Whole words: ``one`` is not in ``someone``. Where no spaces part words, the characters must follow one another.
    """
    glue = "" if normaliser_of(language).unit == "character" else " "
    for answer in answers:
        wanted, said = (
            glue.join(["", *text.split(), ""]) for text in normalise_pair(answer, hypothesis, language)
        )
        if wanted.strip() and wanted in said:
            return True
    return False


def has_words(reference: str, hypothesis: str, language: str) -> bool:
    """Whether anything of a reply is left to compare with the reference."""
    return bool(normalise_pair(reference, hypothesis, language)[1])


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


def _is_same(answer: str, hypothesis: str, language: str) -> bool:
    wanted, said = normalise_pair(answer, hypothesis, language)
    return wanted == said
