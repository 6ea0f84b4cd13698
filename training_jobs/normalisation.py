"""Text normalisers by language: Whisper's published ones, as error rates of other systems are reported with.

English goes through Whisper's English normaliser (contractions, spellings, figures: ``one two`` becomes ``12``), all
other languages through its basic one. Languages without spaces are scored by characters (:data:`UNSPACED`), so that
their error rate is a character error rate.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Literal

from validation.text.scripts import UNSPACED
from validation.thresholds import primary_language

# Han with its extensions and compatibility forms, the ideographic zero and iteration marks, and kana: written
# without spaces, so that each character is scored as a word of its own.
_CJK = re.compile("[\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_APOSTROPHES = str.maketrans("", "", "'’ʼ`")
_BRACKETS = str.maketrans(dict.fromkeys("<>[]()", " "))

Unit = Literal["word", "character"]


@dataclass(frozen=True)
class Normaliser:
    """How texts of a language are compared.

    Attributes:
        name: with the version of the package that it comes from.
        unit: what errors are counted in.
    """

    name: str
    unit: Unit


def normaliser_of(language: str) -> Normaliser:
    """Which normaliser the texts of a language go through."""
    primary = primary_language(language)
    package = f"whisper-normalizer {version('whisper-normalizer')}"
    if primary == "en":
        return Normaliser(f"Whisper's English ({package})", "word")
    if primary in UNSPACED:
        return Normaliser(f"Whisper's basic, letters split, marks kept ({package})", "character")
    return Normaliser(f"Whisper's basic, marks kept ({package})", "word")


def normalise_pair(reference: str, hypothesis: str, language: str) -> tuple[str, str]:
    """Both texts as words separated by single spaces, each a character where the language is scored by them.

    The normalisers drop what stands in brackets. A reply may not hide words that way: its brackets are opened, unless
    its reference has some. A reference of which nothing is left (``um``) is compared by :func:`plain`, as its reply is.
    """
    normalise = _normaliser(primary_language(language))
    if reference == reference.translate(_BRACKETS):
        hypothesis = hypothesis.translate(_BRACKETS)
    wanted = normalise(reference)
    return (wanted, normalise(hypothesis)) if wanted else (plain(reference), plain(hypothesis))


def plain(text: str) -> str:
    """Words of ``text`` in lower case, separated by single spaces; no word is dropped or changed.

    Compatibility forms are folded (NFKC); apostrophes go, all other punctuation and symbols part words; every
    CJK character is a word of its own.
    """
    folded = unicodedata.normalize("NFKC", text).lower().translate(_APOSTROPHES)
    spaced = "".join(
        " " if unicodedata.category(character)[0] in "PSZC" else character for character in folded
    )
    return " ".join(_CJK.sub(r" \g<0> ", spaced).split())


@lru_cache(maxsize=64)
def _normaliser(primary: str) -> Callable[[str], str]:
    # Imported only here: processes that hand out rows and read profiles have no use for it.
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    published: Callable[[str], str]
    if primary == "en":
        published = EnglishTextNormalizer()
    else:
        # Without its marks, a word of an Indic script falls into pieces.
        published = BasicTextNormalizer(split_letters=primary in UNSPACED, preserve_marks=True)
    # What is left of dots and signs is no word: it would be a reply to nothing.
    return lambda text: " ".join(filter(_is_word, published(text).split()))


def _is_word(word: str) -> bool:
    return any(unicodedata.category(character)[0] in "LMN" for character in word)
