"""Which language a text is in, by py3langid (BSD-3-Clause; 0.3 ms per text)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from validation.text.normal import normal_text
from validation.thresholds import primary_language

_FEWEST_CHARACTERS = 20
_CERTAIN = 0.9
# Languages that the model knows under another tag, or cannot tell from each other.
_SAME = {"cmn": "zh", "yue": "zh", "nb": "no", "nn": "no", "fil": "tl"}


def language_probabilities(texts: Iterable[str | None], languages: Iterable[str]) -> list[float | None]:
    """Probability of each text's declared language.

    ``None`` where the model has no say: below 20 characters, for a language that it does not know, and where it is
    sure of no language (below 0.9).
    """
    return [_probability(text or "", language) for text, language in zip(texts, languages, strict=True)]


def _probability(text: str, language: str) -> float | None:
    plain = normal_text(text)
    primary = _tag(primary_language(language))
    identifier = _identifier()
    if len(plain) < _FEWEST_CHARACTERS or primary not in _known():
        return None
    ranked = identifier.rank(plain.lower())
    if ranked[0][1] < _CERTAIN:
        return None
    return float(sum(probability for tag, probability in ranked if _tag(tag) == primary))


def _tag(tag: str) -> str:
    return _SAME.get(tag, tag)


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    return frozenset(_tag(label) for label in _identifier().labels)
