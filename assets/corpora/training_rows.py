"""Accepted utterances to training rows, a batch at a time and in columns: a million rows as objects take minutes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import polars as pl

from assets.corpora.conversation import (
    AUDIO_MARKER,
    Message,
    asr_messages,
    dump_json,
    task_of,
    tts_messages,
)
from validation.metadata import SCORES, UNKNOWN, worst_of
from validation.schemas import RowTask

# The characters that JSON does not hold as they are, as json.dumps writes them.
_ESCAPED = {chr(code): json.dumps(chr(code))[1:-1] for code in range(0x20)} | {'"': '\\"', "\\": "\\\\"}
_TRANSCRIBED: tuple[RowTask, ...] = ("asr", "tts")
_TEXT = "<text>"  # takes a transcript's place in the two templates
_LISTS = {
    "audios": "audio",
    "utterance_ids": "utterance_id",
    "audio_digests": "audio_digest",
    "speakers": "heard_from",
    "licences": "licence",
    "consents": "consent",
}
_MAY_LACK = ("audios", "audio_digests")  # of what has only a text
_STATED = ("topic", "difficulty", "metadata")


def training_rows(accepted: Iterable[pl.DataFrame], lake_url: str) -> Iterator[pl.DataFrame]:
    """The columns of ``training_rows``, but for where the line stands, in the order of the utterances.

    Args:
        accepted: Batches of ``accepted_utterances`` of one split, in the corpus' order: those of one conversation
            follow one another, since they come from one line of the corpus.
        lake_url: What audio is named by: a directory or a URL.
    """
    held: pl.DataFrame | None = None
    for batch in accepted:
        if batch.is_empty():
            continue
        rows = batch if held is None else pl.concat([held, batch])
        runs = _runs(rows)
        held, whole = None, rows.height
        if rows["conversation_id"][-1] is not None:
            # The last conversation may go on in the next batch.
            whole -= runs.filter(run=runs["run"].last()).height
            held = rows[whole:]
        del batch, rows  # they would be held while what is made of them is used
        if whole:
            yield _rows(runs[:whole], lake_url)
    if held is not None:
        yield _rows(_runs(held), lake_url)


def json_text(text: pl.Expr) -> pl.Expr:
    """The text as a string of JSON, as ``json.dumps(..., ensure_ascii=False)`` writes it."""
    return pl.concat_str(pl.lit('"'), text.str.replace_many(_ESCAPED), pl.lit('"'))


def _runs(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with ``run``: a number that just the rows of one conversation of one line have in common."""
    if rows["conversation_id"].null_count() == rows.height:
        return rows.with_columns(run=pl.int_range(pl.len()))
    numbered = rows.with_columns(
        run=pl.int_range(pl.len()), line=pl.struct("conversation_id", "source").rle_id()
    )
    first = pl.col("run").min().over("line")
    is_conversation = pl.col("conversation_id").is_not_null()
    return numbered.with_columns(run=pl.when(is_conversation).then(first).otherwise("run")).drop("line")


def _rows(runs: pl.DataFrame, lake_url: str) -> pl.DataFrame:
    # All of it is one query: a hundred of them over some thousand rows take longer than their work does.
    told = runs.lazy().with_columns(
        pl.col("consent").fill_null(UNKNOWN),
        heard_from=pl.when(pl.col("speaker") == "").then(pl.lit(UNKNOWN)).otherwise("speaker"),
        audio=pl.concat_str(pl.lit(f"{lake_url}/"), "audio_path"),
        audio_digest=pl.when(pl.col("audio_path").is_not_null()).then("audio_digest"),
        duration_s=pl.when(pl.col("audio_path").is_not_null()).then("duration_s"),
    )
    is_conversation = pl.col("conversation_id").is_not_null()
    has_conversations = runs["conversation_id"].null_count() < runs.height
    alone = told.filter(~is_conversation) if has_conversations else told
    spoken = _spoken(alone, runs["audio_path"].null_count() > 0)
    parts = [_transcribed(spoken, task) for task in _TRANSCRIBED]
    if has_conversations:
        parts.append(_conversations(told.filter(is_conversation).collect()).lazy())
    wanted = pl.col("messages").str.count_matches(AUDIO_MARKER, literal=True)  # in JSON it stands as it is
    # An utterance's rows stay in the order of the parts.
    rows = pl.concat(parts).sort("run", maintain_order=True).with_columns(wanted=wanted).collect()
    lacking = rows.filter(pl.col("wanted") != pl.col("audios").list.len())
    assert lacking.is_empty(), (lacking["row_id"][0], lacking["audios"][0].to_list())
    return rows.drop("run", "wanted")


def _spoken(utterances: pl.LazyFrame, lacks_audio: bool) -> pl.LazyFrame:
    """What the rows of an utterance have in common, whatever they are trained for."""
    lists = {name: pl.concat_list(column) for name, column in _LISTS.items()}
    if lacks_audio:
        # Asked of all of them, always, it would be what this step does most of its time.
        lists |= {name: lists[name].list.drop_nulls() for name in _MAY_LACK}
    return utterances.select(
        "run",
        "tasks",
        "corpus",
        "utterance_id",
        "split",
        "language",
        "speaker",
        pl.col("text").str.replace_many(_ESCAPED),
        pl.col("duration_s").fill_null(0.0).alias("seconds"),
        *(column.alias(name) for name, column in lists.items()),
        *_STATED,
        *SCORES,
    )


def _transcribed(spoken: pl.LazyFrame, task: RowTask) -> pl.LazyFrame:
    """The rows of the utterances that are trained for the task: each is a row of its own."""
    template = asr_messages(_TEXT) if task == "asr" else tts_messages(_TEXT)
    before, after = dump_json(template).split(_TEXT)
    return spoken.filter(pl.col("tasks").list.contains(task)).select(
        "run",
        "corpus",
        pl.concat_str("utterance_id", pl.lit(f":{task}")).alias("row_id"),
        "split",
        pl.lit(task).alias("task"),
        "language",
        "speaker",
        pl.concat_str(pl.lit(before), "text", pl.lit(after)).alias("messages"),
        "seconds",
        *_LISTS,
        *_STATED,
        *SCORES,
    )


def _conversations(members: pl.DataFrame) -> pl.DataFrame:
    """The rows of the conversations, each of all its utterances in the order of their markers."""
    in_order = members.sort("run", pl.col("marker").fill_null(0), maintain_order=True)
    lists = {name: pl.col(column).drop_nulls() for name, column in _LISTS.items()}
    kept = ("audios", "utterance_ids", "audio_digests")  # in order; of the others each once
    rows = in_order.group_by("run", maintain_order=True).agg(
        pl.col("corpus").first(),
        pl.col("conversation_id").first().alias("row_id"),
        pl.col("split").first(),
        pl.lit(None, pl.String).first().alias("task"),
        pl.col("language", "speaker", "messages").first(),
        pl.col("duration_s").sum().alias("seconds"),
        *((lists[name] if name in kept else lists[name].unique().sort()).alias(name) for name in _LISTS),
        pl.col(_STATED).first(),
        *(worst_of(score) for score in SCORES),
    )
    read: Iterator[list[Message]] = map(json.loads, rows["messages"])
    return rows.with_columns(task=pl.Series([task_of(messages) for messages in read], dtype=pl.String))
