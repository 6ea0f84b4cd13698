"""The step ``audio_fingerprints``: the acoustic fingerprint of each accepted audio, from its stored form.

Resumable and incremental: while a pass runs, what is done lies in parts under ``work/audio_fingerprints/<corpus>/``;
audio that an earlier pass has done, finished or killed, is not read again. The table is sorted by digest, so that it
does not show in how many passes it was made.
"""

# ruff: noqa: S608 - statements are made of names of columns and quoted paths
from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import duckdb
import polars as pl
from tqdm import tqdm

from assets.audio.merging import Sorted, merged
from assets.corpora.config import CorpusEntry
from validation.batches import batches_of, database, files_of, parquet, write_batches
from validation.digests import digest_value
from validation.fingerprint import FINGERPRINT_RECIPE, Fingerprint, fingerprint, loud_frames
from validation.lake import Lake
from validation.leakage_copies import read_stored
from validation.ordering import in_order_of_texts
from validation.remote import at_once
from validation.schemas import TableName, frame_from_rows, polars_schema
from validation.steps import StepOutcome, run_step, table_digest
from validation.stored_audio import STORED_RATE_HZ

STEP: TableName = "audio_fingerprints"
_PER_PART = 1024  # how many are done again after a kill, at most


def make_fingerprints(entry: CorpusEntry, lake: Lake) -> StepOutcome:
    """Fingerprint the accepted audio of a corpus, each distinct one once.

    Raises:
        validation.leakage_copies.StoredAudioError: naming the file.
        validation.lake.MissingTableError: if ``accepted_utterances`` of this corpus has not been made.
    """
    corpus = entry.name
    accepted = table_digest(lake, "accepted_utterances", corpus)
    inputs = digest_value({"recipe": FINGERPRINT_RECIPE, "accepted": accepted})
    outputs = [lake.table_path(STEP, corpus)]
    return run_step(lake, STEP, corpus, inputs, outputs, lambda: _compute(corpus, lake))


def _compute(corpus: str, lake: Lake) -> dict[str, Any]:
    with database(lake) as connection:
        wanted, missing = _find_missing(connection, lake, corpus)
        _run(corpus, lake, in_order_of_texts(connection, "missing", "audio_digest"), missing)
        digests = batches_of(connection, "SELECT audio_digest FROM wanted ORDER BY audio_digest")
        # All of them at once could not be sorted in memory; but each file of them is in order.
        is_ours = pl.col("recipe") == FINGERPRINT_RECIPE
        wanted_digests = Sorted(digests, "audio_digest")
        found = merged(lake, _sources(lake, corpus), "audio_digest", is_ours, wanted_digests)
        ordered = (batch.select(list(polars_schema(STEP))) for batch in found)
        rows = write_batches(lake, STEP, corpus, ordered, _PER_PART)
    assert rows == wanted, (rows, wanted)
    for path in lake.list_files(_folder(corpus)):
        lake.remove(path)
    return {"rows": rows, "done_now": missing, "reused": wanted - missing}


def _folder(corpus: str) -> str:
    return f"work/{STEP}/{corpus}"


def _sources(lake: Lake, corpus: str) -> list[str]:
    """Files of fingerprints: an earlier pass's table, and this one's parts."""
    table = [lake.table_path(STEP, corpus)] if lake.has_table(STEP, corpus) else []
    return [*table, *(path for path in lake.list_files(_folder(corpus)) if path.endswith(".parquet"))]


def _find_missing(connection: duckdb.DuckDBPyConnection, lake: Lake, corpus: str) -> tuple[int, int]:
    """Make the tables ``wanted`` of digests and ``missing`` of those without a fingerprint; counts their rows."""
    accepted = files_of(lake, "accepted_utterances", [corpus])
    connection.execute(
        "CREATE TEMP TABLE wanted AS SELECT DISTINCT audio_digest FROM "
        f"{accepted} WHERE audio_digest IS NOT NULL ORDER BY audio_digest"
    ).fetchall()
    sources = _sources(lake, corpus)
    known = f"SELECT audio_digest FROM {parquet(lake, sources)} WHERE recipe = ?" if sources else ""
    connection.execute(
        f"CREATE TEMP TABLE missing AS SELECT audio_digest, min(audio_path) AS audio_path FROM {accepted} "
        + (f"ANTI JOIN ({known}) USING (audio_digest) " if sources else "")
        + "WHERE audio_digest IS NOT NULL GROUP BY audio_digest",
        [FINGERPRINT_RECIPE] if sources else [],
    ).fetchall()
    ((wanted, missing),) = connection.execute(
        "SELECT (SELECT count(*) FROM wanted), (SELECT count(*) FROM missing)"
    ).fetchall()
    return wanted, missing


def _run(corpus: str, lake: Lake, missing: Iterator[pl.DataFrame], count: int) -> None:
    """Fingerprint the audio in threads, which hold the interpreter's lock only between the numbers."""
    rows = (row for batch in missing for row in batch.iter_rows())
    with (
        ThreadPoolExecutor(at_once(lake.url)) as threads,
        tqdm(total=count, desc=f"{corpus}: fingerprints", unit="file", disable=None) as progress,
    ):
        while part := list(islice(rows, _PER_PART)):
            words = threads.map(lambda row: _fingerprint(lake, row[1]), part)
            made = [
                {
                    "corpus": corpus,
                    "audio_digest": digest,
                    "frames": words_F,
                    "recipe": FINGERPRINT_RECIPE,
                    "loud_frames": loud_frames(words_F),
                }
                for (digest, _), words_F in zip(part, words, strict=True)
            ]
            with lake.atomic_write(f"{_folder(corpus)}/{uuid.uuid4().hex}.parquet") as stream:
                frame_from_rows(STEP, made).write_parquet(stream, compression="zstd")
            progress.update(len(part))


def _fingerprint(lake: Lake, path: str) -> Fingerprint:
    return fingerprint(read_stored(lake, path), STORED_RATE_HZ)
