"""The review queue as tasks of Label Studio, and its export (format JSON) read back.

Times and people are Label Studio's own: ``completed_by`` and ``updated_at`` of each annotation are kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import duckdb

from validation.batches import quoted_path
from validation.review_files import Answer, AudioAddress, ReviewError, verdict_of
from validation.review_queue import QueueItem

# The names of its controls are those that an annotation's results come back under.
CONFIGURATION = """\
<View>
  <Header value="$reason, corpus $corpus"/>
  <Text name="detail" value="$detail"/>
  <Audio name="audio" value="$audio"/>
  <Text name="text" value="$text"/>
  <Choices name="decision" toName="audio" choice="single" required="true" showInline="true">
    <Choice value="accept"/>
    <Choice value="reject"/>
  </Choices>
  <Header value="Corrected text, if it is another one"/>
  <TextArea name="corrected_text" toName="audio" rows="2" editable="true" maxSubmissions="1"/>
  <Header value="Note"/>
  <TextArea name="note" toName="audio" rows="1" editable="true" maxSubmissions="1"/>
</View>
"""
_DATA = ("id", "corpus", "reason", "value", "limit", "text", "detail", "content", "audio")
_TASK = ("id", "data", "annotations", "annotation_id")
_LARGEST_TASK = 1 << 28  # bytes
_AT_ONCE = 1_000


def write_tasks(stream: TextIO, items: Iterable[QueueItem], address: AudioAddress) -> int:
    """Write the items as a JSON list of tasks, as Label Studio imports them; gives their number."""
    count = 0
    stream.write("[")
    for count, item in enumerate(items, start=1):
        stream.write(",\n" if count > 1 else "\n")
        json.dump({"data": _data(item, address)}, stream, ensure_ascii=False)
    stream.write("\n]\n")
    return count


def read_tasks(path: Path) -> list[Answer]:
    """The decisions of an export; tasks without an annotation and skipped ones are left out.

    Raises:
        ReviewError: naming each fault with its task and annotation.
    """
    answers: list[Answer] = []
    faults: list[str] = []
    try:
        for number, task in enumerate(_tasks(path), start=1):
            for found in _answers(number, task):
                if isinstance(found, Answer):
                    answers.append(found)
                else:
                    faults.append(found)
    except (OSError, duckdb.Error, ValueError) as error:
        words = str(error).splitlines()[0]
        raise ReviewError(str(path), [f"cannot be read as a JSON list of tasks: {words}"]) from error
    if faults:
        raise ReviewError(str(path), faults)
    return answers


def _data(item: QueueItem, address: AudioAddress) -> dict[str, Any]:
    row = item.row
    audio = (row["audio_uri"] or "") if item.audio is None else address(item.audio)
    values = {"id": item.utterance_id, "content": item.content, "audio": audio}
    return {name: values[name] if name in values else row[name] for name in _DATA}


def _tasks(path: Path) -> Iterator[dict[str, Any]]:
    """One task at a time: an export of a large project does not fit into memory."""
    path.stat()
    columns = ", ".join(f"{name}: 'JSON'" for name in _TASK)
    options = f"format = 'array', maximum_object_size = {_LARGEST_TASK}, columns = {{{columns}}}"
    statement = f"SELECT {', '.join(_TASK)} FROM read_json({quoted_path(str(path))}, {options})"  # noqa: S608 - quoted
    with duckdb.connect() as connection:
        connection.execute("SET enable_progress_bar = false")
        rows = connection.execute(statement)
        while batch := rows.fetchmany(_AT_ONCE):
            for row in batch:
                values = (None if value is None else json.loads(value) for value in row)
                yield dict(zip(_TASK, values, strict=True))


def _answers(number: int, task: dict[str, Any]) -> Iterator[Answer | str]:
    place = f"task {number if task['id'] is None else task['id']}"
    data = task["data"]
    if data is None and task["annotation_id"] is not None:
        yield f"{place}: this is Label Studio's JSON-MIN, which drops who decided; export as JSON"
        return
    missing = [name for name in ("id", "corpus", "content") if not _is_text(data, name)]
    if missing:
        yield f"{place}: its data have no {', '.join(missing)}; wanted are tasks of `voxline review export`"
        return
    annotations = task["annotations"] or []
    if not isinstance(annotations, list) or not all(isinstance(one, dict) for one in annotations):
        yield f"{place}: annotations must be a list of objects, got {annotations!r:.80}"
        return
    for annotation in annotations:
        if not annotation.get("was_cancelled"):
            yield _answer(f"{place}, annotation {annotation.get('id')}", data, annotation)


def _is_text(data: Any, name: str) -> bool:
    return isinstance(data, dict) and isinstance(data.get(name), str)


def _answer(place: str, data: dict[str, Any], annotation: dict[str, Any]) -> Answer | str:
    given = annotation.get("result")
    results = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    choices = _values(results, "decision", "choices")
    decision = verdict_of(choices[0]) if len(choices) == 1 else None
    if decision is None:
        return f"{place}: decision {choices!r:.80} is none; wanted is one choice, accept or reject"
    decided_at = _time(annotation.get("updated_at") or annotation.get("created_at"))
    if isinstance(decided_at, str):
        return f"{place}: {decided_at}"
    return Answer(
        place=place,
        corpus=data["corpus"],
        utterance_id=data["id"],
        content=data["content"],
        decision=decision,
        corrected_text=" ".join(_values(results, "corrected_text", "text")).strip() or None,
        reviewer=_person(annotation.get("completed_by")),
        note=" ".join(_values(results, "note", "text")).strip(),
        decided_at=decided_at,
    )


def _values(results: list[dict[str, Any]], name: str, kind: str) -> list[str]:
    """What was chosen or written under the control ``name``."""
    found: list[str] = []
    for result in results:
        value = result.get("value")
        if result.get("from_name") == name and isinstance(value, dict):
            given = value.get(kind, [])
            found += [str(one) for one in given] if isinstance(given, list) else [str(given)]
    return found


def _person(completed_by: Any) -> str | None:
    """Who annotated: in exports of a file it is a number, in others the user with an e-mail address."""
    if isinstance(completed_by, dict):
        named = completed_by.get("email") or completed_by.get("username") or completed_by.get("id")
        return None if named is None else _person(named)
    if isinstance(completed_by, int):
        return f"Label Studio user {completed_by}"
    return completed_by if isinstance(completed_by, str) and completed_by.strip() else None


def _time(text: Any) -> datetime | str | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return f"{text!r:.80} is no time"
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
