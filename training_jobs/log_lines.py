"""The warnings and errors of a program's log, counted and grouped by what they say."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training_jobs.program_output import SAID_BY_SUPERVISOR

Kind = Literal["warning", "error"]

LOG_FILE = "log.txt"  # beside a program's output
MOST_MESSAGES = 200  # groups; what is said in still other words is counted together
_LONGEST = 2_000  # characters of a line that are looked at
_LONGEST_SHOWN = 300
_PIECE = 1 << 16
_REMEMBERED = 500  # lines, of which a supervisor repeats some after a failure

_OURS = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?:\[rank \d+\] )?([A-Z]+) (.*)")
# What our programs report goes to Dagster as it is, so it has no level of its own.
_REPORTED = re.compile(r"(?:\S+: )?warning: |checkpoint \S+ is not used: |\S+ could not be saved: ")
_DEEPSPEED = re.compile(r"\[\d{4}-\d\d-\d\d [^\]]*\] \[([A-Z]+)\] (?:\[[^\]]*\] )?(.*)")
_GLOG = re.compile(r"([WEF])\d{4} \d\d:\d\d:\d\d\S* (?:\d+ )?(.*)")
_PYTHON = re.compile(r"\S+\.py:\d+: (\w*Warning: .*)")
_RANK = re.compile(r"\[rank\d+\]: ?")
_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:: |$)")
_DIVERGED = "DivergedError: "
_ENDED = re.compile(r" with code \d+ after \d+ s")
_LEVELS: dict[str, Kind] = {
    "WARNING": "warning", "ERROR": "error", "CRITICAL": "error", "FATAL": "error", "W": "warning", "E": "error",
    "F": "error",
}  # fmt: skip
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+(?:[.,]\d+)*")


@dataclass
class Message:
    """Lines that say the same but for numbers.

    Attributes:
        kind: warning or error.
        count: of the lines.
        first: the first of them, cut to 300 characters.
        line: its number in the log, from 1.
    """

    kind: Kind
    count: int
    first: str
    line: int


@dataclass(frozen=True)
class LogCount:
    """What a log complains of.

    Attributes:
        warnings: lines, or Python's warnings.
        errors: lines, or exceptions.
        messages: errors first, then by how often.
        diverged: what the last launch of a stage said where it ended by diverging; else empty.
    """

    warnings: int
    errors: int
    messages: list[Message]
    diverged: str = ""


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a log, which may still grow; long ones are cut, and of a line that is redrawn the last state."""
    with path.open("rb") as stream:
        unfinished = b""
        while piece := stream.read(_PIECE):
            *lines, unfinished = (unfinished + piece).split(b"\n")
            yield from (_text(line) for line in lines)
            # A progress bar is one line for hours.
            unfinished = unfinished[-_PIECE:]
        if unfinished:
            yield _text(unfinished)


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").rsplit(b"\r", 1)[-1][:_LONGEST].decode(errors="replace")


def complaints(lines: Iterable[str]) -> Iterator[tuple[int, Kind, str]]:
    """Number, kind and words of each line that is a warning or an error.

    An exception is one error, with those that it came of, and none beside a line that logs it. What a supervisor
    repeats after a failure is not counted again.
    """
    remembered: deque[str] = deque(maxlen=_REMEMBERED)
    repeated: frozenset[str] = frozenset()
    in_traceback = is_counted = False
    for number, whole in enumerate(lines, start=1):
        if repeated:
            if whole in repeated:
                continue
            repeated = frozenset()
        remembered.append(whole)
        line = _RANK.sub("", whole, count=1)
        if line.startswith(_TRACEBACK):
            in_traceback = True
            continue
        if in_traceback and (not line or line[0].isspace()):
            continue
        if in_traceback and _RAISED.match(line):
            in_traceback = False
            if not is_counted:
                yield number, "error", line
            is_counted = False
            continue
        if line.startswith(_CHAINED):
            is_counted = True
            continue
        said = _said(line)
        in_traceback = False
        # The traceback of what was logged follows on it.
        is_counted = (said is not None and said[0] == "error") or (is_counted and not line.strip())
        if said is not None:
            yield number, *said
        if line.startswith(SAID_BY_SUPERVISOR):
            repeated = frozenset(remembered) - {whole}


def count_log(lines: Iterable[str]) -> LogCount:
    """The warnings and errors of a log's lines, in memory that does not grow with them."""
    messages: dict[tuple[Kind, str], Message] = {}
    counts: dict[Kind, int] = {"warning": 0, "error": 0}
    diverged = of_last_launch = ""
    for number, kind, words in complaints(lines):
        counts[kind] += 1
        if words.startswith(_DIVERGED):
            diverged = words
        elif kind == "error" and words.startswith(SAID_BY_SUPERVISOR):
            diverged, of_last_launch = "", diverged
        shape = (kind, _NUMBER.sub("#", words)[:_LONGEST_SHOWN])
        if shape not in messages and len(messages) >= MOST_MESSAGES:
            shape = (kind, "")
        found = messages.setdefault(shape, Message(kind, 0, words[:_LONGEST_SHOWN], number))
        found.count += 1
    ordered = sorted(messages.values(), key=lambda one: (one.kind != "error", -one.count, one.line))
    return LogCount(counts["warning"], counts["error"], ordered, diverged or of_last_launch)


def _said(line: str) -> tuple[Kind, str] | None:
    if line.startswith(SAID_BY_SUPERVISOR):
        return ("error" if _ENDED.search(line) else "warning"), line
    if found := _OURS.fullmatch(line):
        level, words = found.groups()
        if level in _LEVELS:
            return _LEVELS[level], words
        return ("warning", words) if _REPORTED.match(words) else None
    for shape in (_DEEPSPEED, _GLOG):
        if found := shape.fullmatch(line):
            kind = _LEVELS.get(found[1])
            return (kind, found[2]) if kind is not None else None
    if found := _PYTHON.fullmatch(line):
        return "warning", found[1]
    return None
