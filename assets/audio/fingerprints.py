"""The step ``audio_fingerprints``: the acoustic fingerprint of each accepted audio, from its stored form.

Resumable and incremental: while a pass runs, what is done lies in parts under ``work/audio_fingerprints/<corpus>/``;
audio that an earlier pass has done, finished or killed, is not read again. The table is sorted by digest, so that it
does not show in how many passes it was made.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import duckdb
import polars as pl
from tqdm import tqdm

from assets.corpora.config import CorpusEntry
from validation.batches import batches_of, database, frame_of, parquet, write_batches
from validation.digests import digest_value
from validation.fingerprint import FINGERPRINT_RECIPE, Fingerprint, fingerprint, loud_frames
from validation.lake import Lake
from validation.leakage_copies import read_stored
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
    with lake.open(lake.table_path("accepted_utterances", corpus)) as stream:
        accepted = pl.read_parquet(stream, columns=["audio_digest", "audio_path"])
    wanted = accepted.drop_nulls().unique("audio_digest").sort("audio_digest")
    with database(lake) as connection:
        known = _known(connection, lake, corpus)
        missing = wanted.join(known, on="audio_digest", how="anti", maintain_order="left")
        _run(corpus, lake, missing)
        rows = write_batches(lake, STEP, corpus, _sorted(connection, lake, corpus, wanted))
    assert rows == wanted.height, (rows, wanted.height)
    for path in lake.list_files(_folder(corpus)):
        lake.remove(path)
    return {"rows": rows, "done_now": missing.height, "reused": wanted.height - missing.height}


def _folder(corpus: str) -> str:
    return f"work/{STEP}/{corpus}"


def _sources(lake: Lake, corpus: str) -> list[str]:
    """Files of fingerprints: an earlier pass's table, and this one's parts."""
    table = [lake.table_path(STEP, corpus)] if lake.has_table(STEP, corpus) else []
    return [*table, *(path for path in lake.list_files(_folder(corpus)) if path.endswith(".parquet"))]


def _known(connection: duckdb.DuckDBPyConnection, lake: Lake, corpus: str) -> pl.DataFrame:
    sources = _sources(lake, corpus)
    if not sources:
        return pl.DataFrame(schema={"audio_digest": pl.String})
    statement = f"SELECT audio_digest FROM {parquet(lake, sources)} WHERE recipe = ?"  # noqa: S608 - paths are quoted
    return frame_of(connection, statement, [FINGERPRINT_RECIPE])


def _sorted(
    connection: duckdb.DuckDBPyConnection, lake: Lake, corpus: str, wanted: pl.DataFrame
) -> Iterator[pl.DataFrame]:
    sources = _sources(lake, corpus)
    if not sources:
        return
    connection.register("wanted", wanted.select("audio_digest").to_arrow())
    columns = ", ".join(
        f"any_value({name}) AS {name}" for name in polars_schema(STEP) if name != "audio_digest"
    )
    ordered = ", ".join(polars_schema(STEP))
    # Two passes at once may both have done one audio.
    statement = f"""
        SELECT {ordered} FROM (
            SELECT audio_digest, {columns} FROM {parquet(lake, sources)} SEMI JOIN wanted USING (audio_digest)
            WHERE recipe = ? GROUP BY audio_digest
        ) ORDER BY audio_digest"""  # noqa: S608 - paths are quoted, the rest is our own
    yield from batches_of(connection, statement, [FINGERPRINT_RECIPE])


def _run(corpus: str, lake: Lake, missing: pl.DataFrame) -> None:
    """Fingerprint the audio in threads, which hold the interpreter's lock only between the numbers."""
    rows = missing.iter_rows()
    with (
        ThreadPoolExecutor(at_once(lake.url)) as threads,
        tqdm(total=missing.height, desc=f"{corpus}: fingerprints", unit="file", disable=None) as progress,
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
