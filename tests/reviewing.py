"""Quarantined rows for the tests of the review queue, and the files in which people decide about them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from assets.corpora.config import CorpusEntry
from validation.lake import Lake
from validation.ledger import read_ledger
from validation.review_csv import COLUMNS, read_csv, write_csv
from validation.review_import import Imported, TextFault, import_answers
from validation.review_label_studio import read_tasks
from validation.review_queue import review_queue

LONG = "=SUM(A1) " + " ".join(f"word{number}" for number in range(15))
LONGER = "－" + "字" * 90
BEFORE = {"good": "text_too_short", "=a": "text_too_long", "b": "text_too_short", "c": "text_too_long"}


def made_corpus(folder: Path, lake: Lake, make) -> CorpusEntry:
    """Rows whose text cannot belong to their second of sound; all steps have run."""
    texts = [("good", "hello"), ("=a", LONG), ("b", "short"), ("c", LONGER)]
    limits = {"max_chars_per_second": {"default": 60.0}, "min_chars_per_second": {"default": 5.1}}
    root = make.ljspeech(folder, texts).root
    entry = make.entry("ljspeech", root, thresholds={**limits, "min_script_share": 0.0})
    make.run_all(entry, lake)
    assert ends(lake) == BEFORE
    return entry


def ends(lake: Lake) -> dict[str, str]:
    return dict(read_ledger(lake, "made").select("utterance_id", "reason").iter_rows())


def row_of(lake: Lake, name: str) -> dict[str, Any]:
    return read_ledger(lake, "made").filter(utterance_id=name).row(0, named=True)


def exported(lake: Lake, path: Path) -> list[dict[str, str]]:
    """Export as CSV through a real file; its rows."""
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        write_csv(stream, review_queue(lake, ["made"]), lake.uri)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def filled_in(path: Path, rows: list[dict[str, str]], columns=COLUMNS) -> Path:
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def no_fault(_: str) -> None:
    return None


def take(lake: Lake, path: Path, overrule: bool = False, text_fault: TextFault = no_fault) -> Imported:
    answers = read_csv(path) if path.suffix == ".csv" else read_tasks(path)
    return import_answers(lake, ["made", "other"], path.name, answers, "ann", text_fault, overrule)


def decide(lake: Lake, path: Path, **decisions: dict[str, str]) -> Path:
    """A CSV in which some rows are decided; keys are ids."""
    rows = exported(lake, path)
    for row in rows:
        row.update(decisions.get(row["id"].lstrip("'"), {}))
    return filled_in(path, rows)


def annotation(decision: str, text: str | None = None, **more: Any) -> dict[str, Any]:
    """An annotation as Label Studio 1.x exports it."""
    region = {"to_name": "audio", "origin": "manual"}
    result = [
        {**region, "id": "x1", "from_name": "decision", "type": "choices", "value": {"choices": [decision]}}
    ]
    if text is not None:
        result.append(
            {
                **region,
                "id": "x2",
                "from_name": "corrected_text",
                "type": "textarea",
                "value": {"text": [text]},
            }
        )
    return {
        "id": 1001,
        "completed_by": 1,
        "result": result,
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-11-20T09:12:30.105112Z",
        "updated_at": "2026-11-20T09:14:01.500000Z",
        "draft_created_at": None,
        "lead_time": 12.3,
        "prediction": {},
        "result_count": len(result),
        "unique_id": "0b9b1ae1-9f8e-4f4b-bd5c-b0b9ac5d5bd4",
        "import_id": None,
        "last_action": None,
        "task": 11,
        "project": 1,
        "updated_by": 1,
        "parent_prediction": None,
        "parent_annotation": None,
        "last_created_by": None,
        **more,
    }


def export_of(number: int, data: dict[str, Any], annotations: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": number,
        "annotations": annotations,
        "file_upload": "0d3c5b2a-tasks.json",
        "drafts": [],
        "predictions": [],
        "data": data,
        "meta": {},
        "created_at": "2026-11-20T09:00:00.000000Z",
        "updated_at": "2026-11-20T09:14:01.600000Z",
        "inner_id": number - 10,
        "total_annotations": len(annotations),
        "cancelled_annotations": 0,
        "total_predictions": 0,
        "comment_count": 0,
        "unresolved_comment_count": 0,
        "last_comment_updated_at": None,
        "project": 1,
        "updated_by": 1,
        "comment_authors": [],
    }
