"""The step ``training_jsonl``: the rows that VITA-Audio's own loader reads (DESIGN §4), per corpus and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any

import polars as pl

from assets.corpora.config import CorpusEntry
from assets.corpora.training_rows import json_text, training_rows
from validation.ahead import ahead
from validation.batches import read_batches, spool, write_batches
from validation.digests import digest_value
from validation.lake import Lake
from validation.schemas import empty_frame, polars_schema
from validation.steps import StepOutcome, run_step, table_digest

STEP = "training_jsonl"
_RECIPE = 2
_SPLITS = ("train", "test")
_LINES_AT_ONCE = 1_024  # as text they exist three times
# Of accepted_utterances: long, each different, and said in no row.
_UNUSED = ("source_digest", "view_path", "view_digest")


def build_jsonl(entry: CorpusEntry, lake: Lake) -> StepOutcome:
    """Write ``jsonl/<corpus>/<split>.jsonl`` and the side table ``training_rows``.

    A transcribed utterance gives one row per task of it (speech to text, text to speech); a conversation gives the row
    that it came from, its audio replaced by the stored one; audio that only a tokenizer is trained from gives none.
    Order is that of the corpus, so the same input gives the same bytes. ``audios`` are absolute: paths, or URLs where
    the lake is an object store. What is known of each row (:mod:`validation.metadata`) stands in the side table.

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
    counts = Counter[tuple[str, str]]()  # rows of each split and task

    def counted() -> Iterator[pl.DataFrame]:
        yield empty_frame("training_rows")
        with _line_files(lake, corpus) as files:
            for rows in ahead(_side_rows(corpus, lake)):
                split = str(rows["split"].first())  # a batch is of one, or empty
                counts.update(
                    {(split, task): count for task, count in rows["task"].value_counts().iter_rows()}
                )
                for some in rows.iter_slices(_LINES_AT_ONCE):
                    files[split].write(_lines(some))
                yield rows

    rows = write_batches(lake, "training_rows", corpus, counted())
    tasks, splits = Counter[str](), Counter[str](dict.fromkeys(_SPLITS, 0))
    for (split, task), count in counts.items():
        tasks[task] += count
        splits[split] += count
    return {"rows": rows, "tasks": dict(sorted(tasks.items())), "splits": dict(splits)}


def _side_rows(corpus: str, lake: Lake) -> Iterator[pl.DataFrame]:
    """The side table's rows, split after split, a batch at a time; as many as there will be lines, in their order."""
    first, *others = _SPLITS
    with ExitStack() as stack:
        # Read once: the other splits' utterances wait in files.
        waiting = {split: stack.enter_context(spool()) for split in others}

        columns = [name for name in polars_schema("accepted_utterances") if name not in _UNUSED]

        def of_first() -> Iterator[pl.DataFrame]:
            for batch in read_batches(lake, "accepted_utterances", corpus, columns):
                for split, aside in waiting.items():
                    if (rows := batch.filter(pl.col("split") == split)).height:
                        aside.add(rows)
                yield batch.filter(pl.col("split") == first)

        yield from _placed(of_first(), corpus, lake, first)
        for split, aside in waiting.items():
            yield from _placed(aside.batches(), corpus, lake, split)


def _placed(
    utterances: Iterator[pl.DataFrame], corpus: str, lake: Lake, split: str
) -> Iterator[pl.DataFrame]:
    """The rows of one split's utterances, with where each line stands."""
    written = 0
    schema = polars_schema("training_rows")
    for rows in training_rows(utterances, lake.url):
        placed = rows.lazy().with_columns(
            jsonl_path=pl.lit(jsonl_path(corpus, split)), line=pl.int_range(pl.len()) + written + 1
        )
        written += rows.height
        yield placed.select(pl.col(name).cast(kind) for name, kind in schema.items()).collect()


@contextmanager
def _line_files(lake: Lake, corpus: str) -> Iterator[dict[str, IO[bytes]]]:
    """The splits' files, which appear at the end of the block."""
    with ExitStack() as stack:
        yield {split: stack.enter_context(lake.atomic_write(jsonl_path(corpus, split))) for split in _SPLITS}


def _lines(rows: pl.DataFrame) -> bytes:
    """The lines of rows of the side table."""
    path = json_text(pl.element())
    audios = pl.concat_str(
        pl.lit(',"audios":['), pl.col("audios").list.eval(path).list.join(","), pl.lit("]")
    )
    line = pl.concat_str(
        pl.lit('{"messages":'),
        "messages",
        pl.when(pl.col("audios").list.len() > 0).then(audios).otherwise(pl.lit("")),
        pl.lit("}\n"),
    )
    text: str = rows.select(line.str.join("")).item()
    return text.encode()
