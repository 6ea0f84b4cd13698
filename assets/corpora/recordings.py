"""Recordings that belong to a line of text by their name, extension aside (LibriSpeech, LJSpeech)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from assets.corpora.root import CorpusRoot
from assets.corpora.utterance import SourceProblem


def audio_by_stem(root: CorpusRoot, folder: str, suffix: str) -> dict[str, list[str]]:
    """The audio files below ``folder`` by their path without extension; where there are several, ``suffix`` first."""
    by_stem: dict[str, list[str]] = {}
    for name in root.audio_files(folder):
        by_stem.setdefault(name.rsplit(".", 1)[0], []).append(name)
    for names in by_stem.values():
        names.sort(key=lambda name: not name.endswith(suffix))
    return by_stem


def left_over(
    by_stem: dict[str, list[str]], named: Collection[str], id_of: Callable[[str], str], texts: str
) -> Iterator[SourceProblem]:
    """A problem for each recording that no line names, and for each that differs in its extension only.

    Args:
        named: The stems that lines of text name.
        id_of: The id that a stem stands for.
        texts: Where its line was looked for, for people.
    """
    for stem, (first, *others) in by_stem.items():
        utterance_id = id_of(stem)
        if stem not in named:
            detail = f"{first}: {texts} has the id {utterance_id!r}"
            yield SourceProblem(utterance_id, first, "no_transcript", detail)
        for other in others:
            detail = f"{other}: the id {utterance_id!r} is that of {first} beside it"
            yield SourceProblem(utterance_id, other, "duplicate_id", detail)
