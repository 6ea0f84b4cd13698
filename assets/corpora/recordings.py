"""Audio files by the names that texts give them: which a row names, which are left over, and which repeat another.

Wherever texts name recordings, ``x.flac`` beside ``x.wav`` is ``duplicate_id``: the same name without the extension
stands for one recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from posixpath import basename, dirname, splitext

from assets.audio.containers import AUDIO_SUFFIXES
from assets.corpora.name_set import NameSet
from assets.corpora.root import CorpusRoot, OutsideRootError
from assets.corpora.utterance import Row, SourceProblem, Utterance

# The usual containers first, where a row names its audio without an extension.
_PREFERRED = (".wav", ".flac", ".mp3", ".opus", ".ogg")
_SUFFIXES = (*_PREFERRED, *sorted(AUDIO_SUFFIXES - set(_PREFERRED)))


def is_audio(name: str) -> bool:
    """Whether the name has the extension of an audio file."""
    return splitext(name)[1].lower() in AUDIO_SUFFIXES


def audio_at(root: CorpusRoot, stem: str, first: str = ".wav") -> str | None:
    """The audio file of that path without its extension; where there are several, the one with ``first``."""
    usual = stem + first  # nearly always, and quicker
    return usual if usual in root.files else next(iter(_audios_at(root, stem, first)), None)


def _audios_at(root: CorpusRoot, stem: str, first: str) -> list[str]:
    beside = (name for name in root.files.starting(f"{stem}.") if splitext(name)[0] == stem)

    def place(name: str) -> tuple[bool, int, str]:
        suffix = splitext(name)[1]
        return suffix != first, _SUFFIXES.index(suffix.lower()), suffix.swapcase()

    return sorted(filter(is_audio, beside), key=place)


class Recordings:
    """The audio files below a folder, and those of them that no row has named yet.

    Args:
        report: ``False``: files that no row names are none of the corpus' rows.
        first: The extension that the layout has, where files differ in nothing else.
    """

    def __init__(self, root: CorpusRoot, report: bool = True, folder: str = "", first: str = ".wav") -> None:
        self._root = root
        self._folder = folder
        self._first = first
        self._report = report
        self._named = NameSet()

    def at(self, stem: str) -> str:
        """The file of that path without its extension, named now; the layout's own name where there is none."""
        name = audio_at(self._root, stem, self._first)
        if name is not None and self._report:
            self._named.add(name)
        return name or stem + self._first

    def without(self, row: Row) -> Row:
        """The row itself; its audio is named now."""
        if isinstance(row, Utterance) and row.audio is not None:
            self.name(row.audio)
        return row

    def name(self, audio: str) -> None:
        """A row names this file, whatever else is wrong with the row."""
        if not self._report:
            return
        if audio in self._root.files:
            self._named.add(audio)
        else:
            self._add_resolved(audio)

    def rows(self, where: str, id_of: Callable[[str], str] = str) -> Iterator[SourceProblem]:
        """A row for each file left, in the order of the listing: without a transcript, or repeating another's name.

        Args:
            where: What does not name them, for a person: ``"no row of train.tsv"``.
            id_of: The id that a path without extension stands for.
        """
        for name in self._root.audio_files(self._folder) if self._report else ():
            if name not in self._named:
                yield self._left_over(name, where, id_of)

    def _left_over(self, name: str, where: str, id_of: Callable[[str], str]) -> SourceProblem:
        stem = splitext(name)[0]
        all_of_them = _audios_at(self._root, stem, self._first)
        # The one that a row names has the name; else the first one, which is then the row without a transcript.
        owner = next((one for one in all_of_them if one in self._named), all_of_them[0])
        if owner == name:
            return SourceProblem(id_of(stem), name, "no_transcript", f"{name}: {where} names this file")
        return _repeated(id_of(stem), name, owner)

    def _add_resolved(self, audio: str) -> None:
        try:
            name = self._root.resolve(audio)
        except OutsideRootError:
            return  # the row says so itself, where its audio is looked for
        if name is not None:
            self._named.add(name)


def _repeated(utterance_id: str, name: str, owner: str) -> SourceProblem:
    detail = f"{name}: the id {utterance_id!r} is that of {owner} beside it"
    return SourceProblem(utterance_id, name, "duplicate_id", detail)


@dataclass(frozen=True, slots=True)
class Pair:
    """An audio file with its text file; ``stem`` is the audio's path without its extension."""

    stem: str
    audio: str
    text: str


def pairs(
    root: CorpusRoot, suffix: str, folders: tuple[str, str] | None = None
) -> Iterator[Pair | SourceProblem]:
    """Every audio file with its text file ``<stem><suffix>``, in the order of the listing, and each without the other.

    Args:
        folders: Names of the folders that hold the audio and the text, side by side; ``None``: one folder holds both.
    """
    for name in root.files:
        if is_audio(name):
            stem = splitext(name)[0]
            text = _beside(stem, folders) + suffix
            owner = audio_at(root, stem)
            if owner not in (name, None):
                yield _repeated(stem, name, str(owner))
            elif text in root.files:
                yield Pair(stem, name, text)
            else:
                yield SourceProblem(stem, name, "no_transcript", f"{name}: there is no {text}")
        elif name.endswith(suffix) and (folders is None or basename(dirname(name)) == folders[1]):
            stem = _beside(name.removesuffix(suffix), folders and folders[::-1])
            if audio_at(root, stem) is None:
                yield SourceProblem(stem, name, "missing_audio", f"{name}: there is no audio file {stem}.*")


def _beside(stem: str, folders: tuple[str, str] | None) -> str:
    if folders is None:
        return stem
    there, name = dirname(dirname(stem)), basename(stem)
    return f"{there}/{folders[1]}/{name}" if there else f"{folders[1]}/{name}"
