"""Taking decisions into the lake: all of a file or nothing, each about a row that is as it was exported."""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from validation.batches import database
from validation.lake import Lake
from validation.ledger import ledger_sql
from validation.reasons import ACCEPTED_AS_IT_IS
from validation.review import Decision, decision_files, decision_of, read_decisions
from validation.review_files import Answer, ReviewError
from validation.review_queue import QueueItem, review_queue
from validation.schemas import frame_from_rows

TextFault = Callable[[str], str | None]
"""What is wrong with a corrected text; ``None``: nothing."""

_DECIDED_UPON: tuple[str, ...] = (
    *("corpus", "utterance_id", "content", "source_digest", "segment_start_s", "segment_end_s", "text"),
    *("messages", "reason", "stage", "source"),
)
_Key = tuple[str, str, str]  # corpus, id and content


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import came to: decisions ``added``, and those that were ``known`` already."""

    added: int
    known: int


def import_answers(
    lake: Lake,
    corpora: Sequence[str],
    file: str,
    answers: Sequence[Answer],
    imported_by: str,
    text_fault: TextFault,
    overrule: bool = False,
) -> Imported:
    """Add the decisions to the table ``review_decisions``, in one file that is there whole or not at all.

    Args:
        file: Name of the file that they came in.
        imported_by: Whoever imports; the reviewer of each decision of which the file names none.
        text_fault: Asked of corrected texts.
        overrule: Whether a decision may contradict an earlier one, and take its place.

    Raises:
        ReviewError: naming each fault with place and value; then nothing was added.
    """
    checked = _Checked(lake, corpora, answers, text_fault, overrule)
    faults = [
        f"{answer.place}: {answer.utterance_id!r} of corpus {answer.corpus!r}: {fault}"
        for answer in answers
        if (fault := checked.fault(answer)) is not None
    ]
    if faults:
        raise ReviewError(file, faults)
    now = datetime.now(UTC)
    sequence = _next_sequence(lake)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    known = 0
    for answer in answers:
        reviewer = answer.reviewer or imported_by
        if checked.is_known(answer, reviewer):
            known += 1
            continue
        rows[_key(answer), reviewer] = {
            **checked.decided_upon(answer),
            "decision": answer.decision,
            "corrected_text": answer.corrected_text,
            "reviewer": reviewer,
            "note": answer.note,
            "decided_at": answer.decided_at or now,
            "imported_at": now,
            "imported_by": imported_by,
            "file": file,
            "place": answer.place,
            "sequence": sequence,
        }
    if rows:
        # A name of its own: of two imports at the same time, neither takes the other's place.
        partition = f"{sequence:06d}-{uuid.uuid4().hex[:8]}"
        lake.write_table(
            "review_decisions", partition, frame_from_rows("review_decisions", list(rows.values()))
        )
    return Imported(len(rows), known)


class _Checked:
    """The rows that answers are about, as they are now and as they were decided upon before."""

    def __init__(
        self,
        lake: Lake,
        corpora: Sequence[str],
        answers: Sequence[Answer],
        text_fault: TextFault,
        overrule: bool,
    ) -> None:
        self._lake = lake
        self._corpora = corpora
        self._text_fault = text_fault
        self._overrule = overrule
        self._items: dict[tuple[str, str], QueueItem] = {}
        self._known: dict[_Key, list[tuple[Decision, dict[str, Any]]]] = {}
        self._first: dict[tuple[str, str], Answer] = {}
        for corpus in corpora:
            ids = {answer.utterance_id for answer in answers if answer.corpus == corpus}
            if not ids:
                continue
            for item in review_queue(lake, [corpus], ids):
                self._items[corpus, item.utterance_id] = item
            for row in read_decisions(lake, corpus).iter_rows(named=True):
                key = (corpus, row["utterance_id"], row["content"])
                self._known.setdefault(key, []).append((decision_of(row), row))

    def fault(self, answer: Answer) -> str | None:
        """What is wrong with an answer, of which those before it in its file were asked before."""
        if answer.corpus not in self._corpora:
            return f"there is no such corpus; there are {', '.join(self._corpora)}"
        item = self._items.get((answer.corpus, answer.utterance_id))
        earlier = self._known.get(_key(answer))
        if earlier is None and item is None:
            return self._not_waiting(answer)
        if earlier is None and item is not None and item.content != answer.content:
            return (
                "its recording, segment, text or reason is another one since it was exported: export it again"
            )
        other = self._first.setdefault((answer.corpus, answer.utterance_id), answer)
        if _verdict(answer) != _verdict(other):
            return f"{_said(answer)} contradicts {other.place}: {_said(other)}"
        if earlier is not None and _verdict(earlier[-1][0]) != _verdict(answer) and not self._overrule:
            told = earlier[-1][0].told
            return (
                f"{_said(answer)} contradicts an earlier decision ({told}); --overrule puts it in its place"
            )
        return self._unfit(answer, item)

    def _not_waiting(self, answer: Answer) -> str:
        ledger = ledger_sql(self._lake, answer.corpus)
        found = None
        if ledger is not None:
            with database(self._lake) as connection:
                statement = f"SELECT outcome, reason, detail FROM {ledger} WHERE utterance_id = ?"  # noqa: S608
                found = connection.execute(statement, [answer.utterance_id]).fetchone()
        if found is None:
            return "no such row waits for review"
        outcome, reason, detail = found
        return f"it does not wait for review, but is {outcome} as {reason}: {detail}"

    def _unfit(self, answer: Answer, item: QueueItem | None) -> str | None:
        """Why such a row cannot be decided upon like this."""
        row = self.decided_upon(answer)
        if answer.text is not None and answer.text.split() != row["text"].split():
            return f"its text was changed to {answer.text!r:.80}; corrections belong into corrected_text"
        if row["stage"] == "raw_utterances":
            return (
                f"it cannot be decided upon, since it ended while it was read ({row['reason']}): mend the recording "
                "or leave it"
            )
        is_unstored = item is not None and item.audio is None and item.row["audio_uri"] is not None
        if answer.decision == "accept" and is_unstored and row["reason"] not in ACCEPTED_AS_IT_IS:
            return (
                f"it cannot be accepted, since its audio could not be stored ({row['reason']}): mend the recording "
                "or its entry, or reject it"
            )
        if answer.corrected_text is None:
            return None
        if answer.decision == "reject":
            return "a rejected row needs no corrected text"
        if row["messages"] is not None:
            return "a corrected text cannot be taken: what is said stands in the messages of its conversation"
        controls = [
            one for one in answer.corrected_text if unicodedata.category(one) == "Cc" and not one.isspace()
        ]
        if controls:
            return f"the corrected text {answer.corrected_text!r:.80} holds the control character {controls[0]!r}"
        return self._text_fault(answer.corrected_text)

    def is_known(self, answer: Answer, reviewer: str) -> bool:
        """Whether the reviewer decided just so before, and nobody otherwise since."""
        earlier = [decision for decision, _ in self._known.get(_key(answer), [])]
        if not earlier or _verdict(earlier[-1]) != _verdict(answer):
            return False
        return any(one.reviewer == reviewer and _verdict(one) == _verdict(answer) for one in earlier)

    def decided_upon(self, answer: Answer) -> dict[str, Any]:
        """The row that the answer is about, as it stands in ``review_decisions``."""
        earlier = self._known.get(_key(answer))
        if earlier is not None:
            row = earlier[-1][1]
        else:
            item = self._items[answer.corpus, answer.utterance_id]
            row = {**item.row, "content": item.content}
        return {name: row[name] for name in _DECIDED_UPON}


def _key(answer: Answer) -> _Key:
    return answer.corpus, answer.utterance_id, answer.content


def _verdict(one: Answer | Decision) -> tuple[str, str | None]:
    return one.decision, one.corrected_text


def _said(answer: Answer) -> str:
    by = f" by {answer.reviewer}" if answer.reviewer else ""
    corrected = f" with the text {answer.corrected_text!r:.80}" if answer.corrected_text is not None else ""
    return f"{answer.decision}{corrected}{by}"


def _next_sequence(lake: Lake) -> int:
    names = [path.rpartition("/")[2] for path in decision_files(lake)]
    return 1 + max((int(name.partition("-")[0]) for name in names), default=0)
