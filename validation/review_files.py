"""What a person is given to decide about quarantined rows, and what comes back, whatever the file's form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from validation.errors import UserError
from validation.review import Verdict

MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """One decision as it stands in a file.

    Attributes:
        place: Where in the file: row, or task and annotation.
        content: Digest of what was exported.
        corrected_text: ``None``: none was given.
        decided_at: ``None``: the file does not say when.
        text: The row's text as it stands in the file; ``None``: it does not.
    """

    place: str
    corpus: str
    utterance_id: str
    content: str
    decision: Verdict
    corrected_text: str | None
    reviewer: str | None
    note: str
    decided_at: datetime | None = None
    text: str | None = None


class ReviewError(UserError):
    """A file of decisions of which nothing was taken: names the file and, for each fault, place and value."""

    def __init__(self, file: str, faults: list[str]) -> None:
        told = faults[:MOST_TOLD]
        if len(faults) > MOST_TOLD:
            told.append(f"and {len(faults) - MOST_TOLD} more")
        super().__init__(f"{file}: nothing was imported: " + "; ".join(told))
        self.faults = faults


AudioAddress = Callable[[str], str]
"""From the path of stored audio in the lake to what plays it."""


def verdict_of(text: str) -> Verdict | None:
    """The decision that a word stands for; ``None``: it is no decision."""
    word = text.strip().lower()
    if word == "accept":
        return "accept"
    return "reject" if word == "reject" else None
