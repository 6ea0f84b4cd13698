"""The step ``training_jsonl``: the rows that VITA-Audio's own loader reads (DESIGN §4), per corpus and split."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import polars as pl

from assets.corpora.config import CorpusEntry
from assets.corpora.conversation import Message, asr_messages, count_markers, dump_json, task_of, tts_messages
from validation.digests import digest_value
from validation.lake import Lake
from validation.schemas import RowTask, frame_in_batches
from validation.steps import StepOutcome, run_step, table_digest

STEP = "training_jsonl"
_RECIPE = 1
_SPLITS = ("train", "test")


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One line of a JSONL file, and the utterances that it was made of."""

    row_id: str
    task: RowTask
    messages: list[Message]
    utterances: list[dict[str, Any]]


def build_jsonl(entry: CorpusEntry, lake: Lake) -> StepOutcome:
    """Write ``jsonl/<corpus>/<split>.jsonl`` and the side table ``training_rows``.

    A transcribed utterance gives one row per task of it (speech to text, text to speech); a conversation gives the row
    that it came from, its audio replaced by the stored one; audio that only a tokenizer is trained from gives none.
    Order is that of the corpus, so the same input gives the same bytes. ``audios`` are absolute: paths, or URLs where
    the lake is an object store.

    Raises:
        validation.lake.MissingTableError: if ``accepted_utterances`` of this corpus has not been made.
    """
    corpus = entry.name
    accepted = table_digest(lake, "accepted_utterances", corpus)
    inputs = digest_value({"recipe": _RECIPE, "lake": lake.url, "accepted": accepted})
    outputs = [lake.table_path("training_rows", corpus), *(jsonl_path(corpus, split) for split in _SPLITS)]
    return run_step(lake, STEP, corpus, inputs, outputs, lambda: _compute(corpus, lake))


def jsonl_path(corpus: str, split: str) -> str:
    """Path, relative to the lake's root, of a split's rows; the file may be empty."""
    return f"jsonl/{corpus}/{split}.jsonl"


def _compute(corpus: str, lake: Lake) -> dict[str, Any]:
    accepted = lake.read_table("accepted_utterances", corpus)
    parts = [accepted.filter(pl.col("split") == split) for split in _SPLITS]
    frame = pl.concat(
        frame_in_batches("training_rows", _written(corpus, lake, split, part))
        for split, part in zip(_SPLITS, parts, strict=True)
    )
    lake.write_table("training_rows", corpus, frame)
    tasks = dict(frame.group_by("task").len().sort("task").iter_rows())
    splits = {split: frame.filter(pl.col("split") == split).height for split in _SPLITS}
    return {"rows": frame.height, "tasks": tasks, "splits": splits}


def _written(corpus: str, lake: Lake, split: str, accepted: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Write the split's file; gives the side table's row of each line."""
    path = jsonl_path(corpus, split)
    with lake.atomic_write(path) as stream:
        for line, row in enumerate(_training_rows(accepted), start=1):
            paths = [lake.uri(one["audio_path"]) for one in row.utterances if one["audio_path"] is not None]
            assert count_markers(row.messages) == len(paths), (row.row_id, paths)
            stream.write(_line(row, paths))
            yield _side_row(corpus, split, row, paths, path, line)


def _training_rows(accepted: pl.DataFrame) -> Iterator[TrainingRow]:
    # A conversation's utterances come from one line of the corpus, so they follow one another.
    by_line = groupby(accepted.iter_rows(named=True), key=lambda one: (one["conversation_id"], one["source"]))
    for (conversation_id, _), together in by_line:
        if conversation_id is None:
            for utterance in together:
                yield from _transcribed(utterance)
        else:
            in_order = sorted(together, key=lambda one: one["marker"] or 0)
            messages: list[Message] = json.loads(in_order[0]["messages"])
            yield TrainingRow(conversation_id, task_of(messages), messages, in_order)


def _transcribed(utterance: dict[str, Any]) -> Iterator[TrainingRow]:
    row_id, text = utterance["utterance_id"], utterance["text"]
    if "asr" in utterance["tasks"]:
        yield TrainingRow(f"{row_id}:asr", "asr", asr_messages(text), [utterance])
    if "tts" in utterance["tasks"]:
        yield TrainingRow(f"{row_id}:tts", "tts", tts_messages(text), [utterance])


def _line(row: TrainingRow, paths: list[str]) -> bytes:
    value: dict[str, Any] = {"messages": row.messages}
    if paths:
        value["audios"] = paths
    return (dump_json(value) + "\n").encode()


def _side_row(
    corpus: str, split: str, row: TrainingRow, paths: list[str], path: str, line: int
) -> dict[str, Any]:
    first = row.utterances[0]
    with_audio = [one for one in row.utterances if one["audio_path"] is not None]
    return {
        "corpus": corpus,
        "row_id": row.row_id,
        "split": split,
        "task": row.task,
        "language": first["language"],
        "speaker": first["speaker"],
        "messages": dump_json(row.messages),
        "audios": paths,
        "utterance_ids": [one["utterance_id"] for one in row.utterances],
        "audio_digests": [one["audio_digest"] for one in with_audio],
        "seconds": sum(one["duration_s"] for one in with_audio),
        "jsonl_path": path,
        "line": line,
    }
