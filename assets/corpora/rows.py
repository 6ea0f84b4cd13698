"""What the readers share: rows from lines and small files, faults of a row, and audio that no row names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from posixpath import basename, dirname, splitext
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from assets.audio.containers import AUDIO_SUFFIXES
from assets.corpora.options import ReaderOptions
from assets.corpora.root import CorpusRoot, OutsideRootError
from assets.corpora.utterance import Row, SourceProblem, Utterance
from validation.errors import UserError
from validation.ledger import Reason

# A transcript beside its audio: hours of speech fit, and a hostile file does not fill the memory.
MOST_TEXT_BYTES = 1 << 20
# The usual containers first, where a row names its audio without an extension.
_PREFERRED = (".wav", ".flac", ".mp3", ".opus", ".ogg")
_SUFFIXES = (*_PREFERRED, *sorted(AUDIO_SUFFIXES - set(_PREFERRED)))


def _inside(name: str) -> str:
    if name.startswith("/") or "://" in name or ".." in name.split("/"):
        raise ValueError("allowed is a path below the root, without '..'")
    return name.strip("/")


InRoot = Annotated[str, AfterValidator(_inside)]


class ListOptions(ReaderOptions):
    """What readers of a list can be told about the audio that it names.

    Attributes:
        strip_prefix: Start of the list's paths that is dropped, where the list was written for another folder.
        unlisted: ``report``: audio below the root that the list does not name is a row without a transcript;
            ``ignore``: the root holds more than this corpus, and such audio is none of its rows.
    """

    strip_prefix: str = ""
    unlisted: Literal["report", "ignore"] = "report"


class RowError(UserError):
    """Why a row is no utterance; the driver adds where it stands."""

    def __init__(
        self,
        reason: Reason,
        detail: str,
        value: float | None = None,
        limit: float | None = None,
        utterance_id: str | None = None,
    ) -> None:
        super().__init__(detail)
        self._reason: Reason = reason
        self._value = value
        self._limit = limit
        self._utterance_id = utterance_id

    def at(self, source: str, utterance_id: str | None = None) -> SourceProblem:
        """The row of the ledger; a row whose id is not known has its place for an id."""
        row_id = self._utterance_id or utterance_id or source
        return SourceProblem(row_id, source, self._reason, f"{source}: {self}", self._value, self._limit)


def rows_of_lines(
    root: CorpusRoot, name: str, make: Callable[[str, str], Row | None], comment: str | None = None
) -> Iterator[Row]:
    """One row per line that is not empty.

    Args:
        make: Makes a row of a line and its place (``metadata.csv:12``), or none where the line is part of another
            row; raises :class:`RowError`.
        comment: What lines begin with that are no rows.
    """
    fault = root.text_fault(name)
    if fault is not None:
        yield fault
        return
    for number, line in root.lines(name):
        if comment is not None and line.startswith(comment.encode()):
            continue
        source = f"{name}:{number}"
        try:
            text = decoded(line)
            row = make(text, source) if text.strip() else None
        except RowError as error:
            row = error.at(source)
        if row is not None:
            yield row


def decoded(data: bytes) -> str:
    """The UTF-8 text.

    Raises:
        RowError: if it is none.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError("not_utf8", f"not UTF-8: {error}") from error


def cells_of(line: str, delimiter: str, names: tuple[str, ...]) -> list[str]:
    """The columns of a line without quoting, without spaces around them; the first one is the id.

    Raises:
        RowError: if there are not as many as there are names, or the first one is empty.
    """
    cells = [cell.strip() for cell in line.split(delimiter)]
    wanted = repr(delimiter).join(names)
    if len(cells) == 1:
        detail = f"no {delimiter!r} in the row; wanted is {wanted}, got {line[:80]!r}"
        raise RowError("wrong_delimiter", detail, 1.0, float(len(names)))
    if len(cells) != len(names):
        detail = f"{len(cells)} columns; wanted are the {len(names)} of {wanted}"
        raise RowError("column_count", detail, float(len(cells)), float(len(names)), cells[0] or None)
    if not cells[0]:
        raise RowError("malformed_row", f"the first column, {names[0]}, is empty")
    return cells


def json_object(text: str) -> dict[str, Any]:
    """The JSON object of a line or file.

    Raises:
        RowError: if it is none, or holds half a character (a lone surrogate), which no file can be written with.
    """
    try:
        value = json.loads(text)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise RowError("malformed_row", f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RowError("malformed_row", f"wanted is one JSON object, got {value!r:.80}")
    return value


def string_of(value: dict[str, Any], *names: str) -> str:
    """The text under the first of the keys that is there.

    Raises:
        RowError: if none is there or it holds something else than text.
    """
    for name in names:
        if name in value:
            if not isinstance(value[name], str):
                raise RowError("malformed_row", f"{name} must be text, got {value[name]!r:.80}")
            return str(value[name]).strip()
    raise RowError(
        "malformed_row", f"no key {' or '.join(names)}; there are {', '.join(sorted(value))[:200]}"
    )


def text_lines(root: CorpusRoot, name: str) -> list[str]:
    """The lines of a small text file that are not empty, without spaces around them.

    Raises:
        RowError: if it cannot be read, is above :data:`MOST_TEXT_BYTES` or is not UTF-8.
    """
    size = root.files[name].size or 0
    if size > MOST_TEXT_BYTES:
        detail = f"{name} has {size} bytes; at most {MOST_TEXT_BYTES} are read as a transcript"
        raise RowError("malformed_row", detail, float(size), float(MOST_TEXT_BYTES))
    try:
        fault = root.text_fault(name)
        if fault is not None:
            raise RowError(fault.reason, fault.detail)
        with root.open(name) as stream:
            data = stream.read(MOST_TEXT_BYTES)
    except OSError as error:
        raise RowError("unreadable", f"{name} cannot be read: {error}") from error
    lines = decoded(data.removeprefix(b"\xef\xbb\xbf")).splitlines()
    return [stripped for line in lines if (stripped := line.strip())]


def is_audio(name: str) -> bool:
    """Whether the name has the extension of an audio file."""
    return splitext(name)[1].lower() in AUDIO_SUFFIXES


def audio_at(root: CorpusRoot, stem: str) -> str | None:
    """The audio file of that path without its extension, ``wav`` and ``flac`` first."""
    for suffix in _SUFFIXES:
        for name in (stem + suffix, stem + suffix.upper()):
            if name in root.files:
                return name
    return None


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
            if text in root.files:
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


class UnnamedAudio:
    """The audio files below the root that no row has named yet.

    Args:
        report: ``False``: such files are none of the corpus' rows.
    """

    def __init__(self, root: CorpusRoot, report: bool = True) -> None:
        self._root = root
        self._left = set(root.audio_files()) if report else set()

    def without(self, row: Row) -> Row:
        """The row itself; its audio is named now."""
        if isinstance(row, Utterance) and row.audio is not None:
            self.name(row.audio)
        return row

    def name(self, audio: str) -> None:
        """A row names this file, whatever else is wrong with the row."""
        if audio in self._root.files:
            self._left.discard(audio)
        elif self._left:
            self._discard_resolved(audio)

    def rows(self, where: str) -> Iterator[SourceProblem]:
        """A row without a transcript for each file left, in the order of the listing.

        Args:
            where: What does not name them, for a person: ``"no row of train.tsv"``.
        """
        for name in self._root.audio_files():
            if name in self._left:
                detail = f"{name}: {where} names this file"
                yield SourceProblem(splitext(name)[0], name, "no_transcript", detail)

    def _discard_resolved(self, audio: str) -> None:
        try:
            name = self._root.resolve(audio)
        except OutsideRootError:
            return  # the row says so itself, where its audio is looked for
        if name is not None:
            self._left.discard(name)
