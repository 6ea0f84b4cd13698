"""What the readers share: rows from lines and small files, and faults of a row."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from assets.corpora.options import ReaderOptions
from assets.corpora.root import MOST_LINE_BYTES, CorpusRoot
from assets.corpora.utterance import Row, SourceProblem
from validation.errors import UserError
from validation.ledger import Reason

# A transcript beside its audio: hours of speech fit, and a hostile file does not fill the memory.
MOST_TEXT_BYTES = 1 << 20


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

    def belongs_to(self, utterance_id: str) -> None:
        """State the row's id, unless it is known already."""
        self._utterance_id = self._utterance_id or utterance_id

    def with_consequence(self, consequence: str) -> RowError:
        """The same fault, with what comes of it."""
        return RowError(self._reason, f"{self}; {consequence}", self._value, self._limit, self._utterance_id)

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
    for place in places(root, name):
        if isinstance(place, SourceProblem):
            yield place
            continue
        source, line = place
        if comment is not None and line.startswith(comment.encode()):
            continue
        try:
            text = decoded(line)
            row = make(text, source) if text.strip() else None
        except RowError as error:
            row = error.at(source)
        if row is not None:
            yield row


def places(root: CorpusRoot, name: str) -> Iterator[tuple[str, bytes] | SourceProblem]:
    """Place (``metadata.csv:12``) and content of each line; a problem where the file, or its rest, cannot be read."""
    fault = root.text_fault(name)
    if fault is not None:
        yield fault
        return
    try:
        for number, line in root.lines(name):
            place = f"{name}:{number}"
            if len(line) > MOST_LINE_BYTES:
                detail = f"{place}: a line of more than {MOST_LINE_BYTES} bytes, which is not read"
                yield SourceProblem(place, place, "malformed_row", detail, None, float(MOST_LINE_BYTES))
            else:
                yield place, line
    except OSError as error:
        # What was read before stays; the row says that there may be more.
        yield SourceProblem(name, name, "unreadable", f"{name}: cannot be read to its end: {error}")


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
    wanted = ("<tab>" if delimiter == "\t" else delimiter).join(names)
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
    fault = root.text_fault(name)
    if fault is not None:
        raise RowError(fault.reason, fault.detail)
    size = root.files[name].size or 0
    if size > MOST_TEXT_BYTES:
        detail = f"{name} has {size} bytes; at most {MOST_TEXT_BYTES} are read as a transcript"
        raise RowError("malformed_row", detail, float(size), float(MOST_TEXT_BYTES))
    try:
        with root.open(name) as stream:
            data = stream.read(MOST_TEXT_BYTES)
    except OSError as error:
        raise RowError("unreadable", f"{name} cannot be read: {error}") from error
    lines = decoded(data.removeprefix(b"\xef\xbb\xbf")).splitlines()
    return [stripped for line in lines if (stripped := line.strip())]
