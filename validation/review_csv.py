"""The review queue as CSV: written for a spreadsheet, and read back with the decisions filled in."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from validation.review_files import Answer, AudioAddress, ReviewError, verdict_of
from validation.review_queue import QueueItem

COLUMNS = (
    "id",
    "corpus",
    "reason",
    "value",
    "limit",
    "text",
    "audio",
    "detail",
    "content",
    "decision",
    "corrected_text",
    "reviewer",
    "note",
)
_NEEDED = ("id", "corpus", "content", "decision")
_FILLED_IN = ("corrected_text", "reviewer", "note")
# With which a spreadsheet begins a formula (OWASP, "CSV Injection"; the last four are full-width), and the apostrophe
# that keeps it from doing so. A cell that begins with one of them gets an apostrophe, which import takes off again.
_ESCAPED = "=+-@\t\r\n＝＋－＠'"
_LONGEST_CELL = 1 << 24


def write_csv(stream: TextIO, items: Iterable[QueueItem], address: AudioAddress) -> int:
    """Write the items as rows, UTF-8 with a byte order mark if the stream says so; gives their number."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for item in items:
        writer.writerow(_cells(item, address))
        count += 1
    return count


def read_csv(path: Path) -> list[Answer]:
    """The decisions of a file; rows whose ``decision`` is empty are left out.

    Raises:
        ReviewError: naming each fault with its row, which is counted as spreadsheets do: the first one is the header.
    """
    answers: list[Answer] = []
    faults: list[str] = []
    csv.field_size_limit(_LONGEST_CELL)
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream, strict=True)
            header = next(rows, [])
            _check_header(path, header)
            for number, row in enumerate(rows, start=2):
                if not any(row):
                    continue
                if len(row) != len(header):
                    faults.append(f"row {number}: {len(row)} cells; the header has {len(header)}")
                    continue
                cells = {name: _unescaped(cell) for name, cell in zip(header, row, strict=True)}
                found = _answer(number, cells)
                if isinstance(found, Answer):
                    answers.append(found)
                elif found is not None:
                    faults.append(found)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ReviewError(str(path), [f"cannot be read as CSV in UTF-8: {error}"]) from error
    if faults:
        raise ReviewError(str(path), faults)
    return answers


def _cells(item: QueueItem, address: AudioAddress) -> list[Any]:
    row, decision = item.row, item.decision
    audio = row["audio_uri"] if item.audio is None else address(item.audio)
    text = [item.utterance_id, item.corpus, row["reason"]]
    rest = [row["text"], audio or "", row["detail"], item.content]
    filled = ["", "", "", ""]
    if decision is not None:
        filled = [decision.decision, decision.corrected_text or "", decision.reviewer, decision.note]
    numbers = [row["value"], row["limit"]]
    return [*map(_escaped, text), *numbers, *map(_escaped, rest), *map(_escaped, filled)]


def _check_header(path: Path, header: list[str]) -> None:
    missing = [name for name in _NEEDED if name not in header]
    unknown = [name for name in header if name not in COLUMNS]
    twice = sorted({name for name in header if header.count(name) > 1})
    if missing or unknown or twice:
        told = [f"missing columns {missing}"] if missing else []
        told += [f"unknown columns {unknown}"] if unknown else []
        told += [f"columns {twice} stand there twice"] if twice else []
        raise ReviewError(
            str(path), [f"{', '.join(told)}; wanted are {', '.join(COLUMNS)}, parted by commas"]
        )


def _answer(number: int, cells: dict[str, str]) -> Answer | str | None:
    """The row's decision, what is wrong with it, or ``None`` where nothing was decided."""
    place = f"row {number}"
    filled = {name: cells.get(name, "").strip() for name in _FILLED_IN}
    if not cells["decision"].strip():
        if filled["corrected_text"]:
            return f"{place}: {cells['id']!r} has a corrected text and no decision"
        return None
    decision = verdict_of(cells["decision"])
    if decision is None:
        return f"{place}: decision {cells['decision']!r} is none; allowed are accept and reject"
    return Answer(
        place=place,
        corpus=cells["corpus"],
        utterance_id=cells["id"],
        content=cells["content"],
        decision=decision,
        corrected_text=filled["corrected_text"] or None,
        reviewer=filled["reviewer"] or None,
        note=filled["note"],
        text=cells.get("text"),
    )


def _escaped(text: str) -> str:
    return f"'{text}" if text and text[0] in _ESCAPED else text


def _unescaped(cell: str) -> str:
    return cell[1:] if len(cell) > 1 and cell[0] == "'" and cell[1] in _ESCAPED else cell
