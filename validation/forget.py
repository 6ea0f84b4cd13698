"""What of the lake is a speaker's, a file's, a licence's or an utterance's: every row and file that holds it.

A request is worked on in DuckDB, in tables of its own: ``selected`` (rows of ``raw_utterances``, with their stored
audio), ``sharing`` (other rows with the very same audio), ``kept`` (rows that stay), and what none of these uses:
``gone_audio``, ``gone_files``, ``gone_uris``, ``gone_contents`` and ``gone_sources``; and ``noisy`` (variants of other
rows that hold it as noise, and their audio).
"""

# ruff: noqa: S608 - statements are made of our own names and quoted paths
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb

from validation.batches import batches_of, parquet, quoted
from validation.errors import UserError
from validation.forget_unfinished import recall
from validation.forgotten import Entry, Selector, content_key, key_of
from validation.lake import Lake
from validation.schemas import TableName, polars_schema
from validation.table_names import known_tables

_CHOSEN = {
    "speaker": "speaker = $value",
    "licence": "licence = $value",
    "utterance": "utterance_id = $value OR conversation_id = $value OR parent_id = $value",
    "file": """audio_uri = $value OR starts_with(audio_uri, $value || '!') OR ends_with(audio_uri, '/' || $value)
        OR contains(audio_uri, '/' || $value || '!') OR source = $value""",
}
# What holds a row is found by these columns, whatever the table: the row's corpus and id.
ROW_COLUMNS = (
    ("corpus", "utterance_id"),
    ("of_corpus", "of_utterance_id"),
    ("evaluation_corpus", "evaluation_utterance_id"),
)
_NOISE = "json_extract_string(augmentation, '$.noise.audio_digest')"
_DUCK = {"String": "VARCHAR", "Float64": "DOUBLE", "Int32": "INTEGER", "Int64": "BIGINT"}
# Tables whose rows nobody's row stands in: what is forgotten itself, and first failures of a contract.
_NOT_LISTED: tuple[TableName, ...] = ("forgotten", "contract_failures")


class NothingToForgetError(UserError):
    """A selector that no row answers to, and that is not on the list either."""


@dataclass(frozen=True, slots=True)
class Holding:
    """Something that holds a selected row.

    Attributes:
        kind: ``row``, ``shared_audio``, ``jsonl_line``, ``stored_audio``, or the name of a table.
        place: The file in the lake, with the line where it has lines.
        what: The row's id, or the audio's digest.
        note: What is particular about it.
    """

    kind: str
    place: str
    what: str
    note: str = ""


def corpora_in(lake: Lake) -> list[str]:
    """The corpora that the lake has rows of, also those that no corpora file names any more."""
    paths = lake.list_files("tables/raw_utterances")
    return [path.rpartition("/")[2].removesuffix(".parquet") for path in paths if path.endswith(".parquet")]


def select(connection: duckdb.DuckDBPyConnection, lake: Lake, selector: Selector, with_copies: bool) -> None:
    """Make the request's tables.

    Args:
        with_copies: Select also other rows with the very same audio.

    Raises:
        UserError: if the selector names a corpus that the lake does not have.
    """
    corpora = corpora_in(lake)
    if selector.corpus is not None and selector.corpus not in corpora:
        raise UserError(f"--corpus {selector.corpus}: {lake.url} has no such corpus; it has {corpora}")
    raw = _relation(lake, "raw_utterances")
    stored = _relation(lake, "audio_22k")
    connection.execute(
        f"""CREATE TEMP TABLE every AS SELECT raw.corpus, raw.utterance_id, raw.source, raw.conversation_id,
            raw.parent_id, raw.audio_uri, raw.source_digest, raw.segment_start_s, raw.segment_end_s, raw.channel,
            raw.speaker, raw.licence, audio.audio_digest, audio.audio_path, audio.view_path, '' AS why
        FROM {raw} AS raw LEFT JOIN {stored} AS audio USING (corpus, utterance_id)"""
    ).fetchall()
    scope = "" if selector.corpus is None else f" AND corpus = {quoted(selector.corpus)}"
    connection.execute(
        f"CREATE TEMP TABLE selected AS SELECT * FROM every WHERE ({_CHOSEN[selector.kind]}){scope}",
        {"value": selector.value},
    ).fetchall()
    if selector.kind in ("utterance", "file"):
        # Rows that came to an end while they were read stand in the ledger only.
        ended = "utterance_id = $value" if selector.kind == "utterance" else "source = $value"
        connection.execute(
            f"""INSERT INTO selected BY NAME SELECT DISTINCT corpus, utterance_id, source, '' AS why
                FROM {_relation(lake, "ledger")} WHERE stage = 'raw_utterances' AND {ended}{scope}
                AND (corpus, utterance_id) NOT IN (SELECT (corpus, utterance_id) FROM selected)""",
            {"value": selector.value},
        ).fetchall()
    if with_copies:
        _add(connection, "audio_digest IN (SELECT audio_digest FROM selected)", "same audio")
    # A conversation is one line of its corpus, and each of its rows holds all that is said in it. DuckDB takes one NULL
    # for another within a tuple.
    line = "(corpus, conversation_id, source)"
    spoken = f"conversation_id IS NOT NULL AND {line} IN (SELECT {line} FROM selected)"
    _add(connection, spoken, "same conversation")
    # A recording that was cut into pieces, and of which no piece stays.
    connection.execute(
        """INSERT INTO selected BY NAME SELECT DISTINCT corpus, parent_id AS utterance_id, source, 'recording' AS why
            FROM selected WHERE parent_id IS NOT NULL AND (corpus, parent_id) NOT IN (
                SELECT (corpus, parent_id) FROM every WHERE parent_id IS NOT NULL
                AND (corpus, utterance_id) NOT IN (SELECT (corpus, utterance_id) FROM selected))
            AND (corpus, parent_id) NOT IN (SELECT (corpus, utterance_id) FROM selected)"""
    ).fetchall()
    recall(connection, lake, selector.request)
    connection.execute(
        """CREATE TEMP TABLE sharing AS SELECT * FROM every
            WHERE audio_digest IN (SELECT audio_digest FROM selected)
            AND (corpus, utterance_id) NOT IN (SELECT (corpus, utterance_id) FROM selected);
        CREATE TEMP TABLE kept AS SELECT * FROM every ANTI JOIN selected USING (corpus, utterance_id);
        CREATE TEMP TABLE gone_audio AS SELECT DISTINCT corpus, audio_digest FROM selected
            WHERE audio_digest IS NOT NULL
            AND (corpus, audio_digest) NOT IN
                (SELECT (corpus, audio_digest) FROM kept WHERE audio_digest IS NOT NULL);
        CREATE TEMP TABLE gone_files AS
            SELECT path, corpus FROM (SELECT unnest([audio_path, view_path]) AS path, corpus FROM selected)
            WHERE path IS NOT NULL GROUP BY ALL
            EXCEPT SELECT path, corpus FROM (SELECT unnest([audio_path, view_path]) AS path, corpus FROM kept);
        CREATE TEMP TABLE gone_uris AS
            SELECT audio_uri FROM selected WHERE audio_uri IS NOT NULL
            EXCEPT SELECT audio_uri FROM kept;
        CREATE TEMP TABLE gone_contents AS
            SELECT DISTINCT source_digest, segment_start_s, segment_end_s, channel FROM selected
            WHERE source_digest IS NOT NULL
            EXCEPT SELECT source_digest, segment_start_s, segment_end_s, channel FROM kept;
        CREATE TEMP TABLE gone_sources AS
            SELECT source_digest FROM selected WHERE source_digest IS NOT NULL
            EXCEPT SELECT source_digest FROM kept;
        DROP TABLE every"""
    ).fetchall()
    # Variants of other rows into which a selected recording was mixed.
    connection.execute(
        f"""CREATE TEMP TABLE noisy AS SELECT DISTINCT corpus, row_id, audio_digest, augmentation_digest
            FROM {_relation(lake, "augmentations")} WHERE {_NOISE} IN (SELECT audio_digest FROM gone_audio)"""
    ).fetchall()


def _add(connection: duckdb.DuckDBPyConnection, condition: str, why: str) -> None:
    connection.execute(
        f"""INSERT INTO selected SELECT * REPLACE ({quoted(why)} AS why) FROM every WHERE {condition}
            AND (corpus, utterance_id) NOT IN (SELECT (corpus, utterance_id) FROM selected)"""
    ).fetchall()


def counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Selected rows of each corpus."""
    rows = connection.execute("SELECT corpus, count(*) FROM selected GROUP BY corpus ORDER BY corpus")
    return {str(corpus): int(count) for corpus, count in rows.fetchall()}


def entries_of(connection: duckdb.DuckDBPyConnection, selector: Selector) -> Iterator[Entry]:
    """What the list of what is forgotten is to say of the request.

    The selector itself, for what may come later; the rows that go with it; and the recordings, under whatever name they
    come back, unless rows that stay have them too. A licence is of terms, not of recordings.
    """
    of_corpus = counts(connection)
    for scope in [selector.corpus, *of_corpus]:
        rows = of_corpus.get(scope, 0) if scope is not None else sum(of_corpus.values())
        yield Entry(selector.kind, scope, selector.digest, rows)
    companions = "SELECT corpus, utterance_id FROM selected WHERE why <> '' ORDER BY ALL"
    for batch in batches_of(connection, companions):
        for corpus, utterance_id in batch.iter_rows():
            yield Entry("utterance", corpus, key_of("utterance", utterance_id), 1)
    if selector.kind == "file":
        uris = "SELECT DISTINCT corpus, audio_uri FROM selected WHERE audio_uri IS NOT NULL ORDER BY ALL"
        for batch in batches_of(connection, uris):
            for corpus, uri in batch.iter_rows():
                yield Entry("file", corpus, key_of("file", uri), 1)
    if selector.kind != "licence":
        for batch in batches_of(connection, "SELECT * FROM gone_contents ORDER BY ALL"):
            for row in batch.iter_rows():
                yield Entry("content", selector.corpus, content_key(*row), 1)


def holdings(connection: duckdb.DuckDBPyConnection, lake: Lake) -> Iterator[Holding]:
    """Every row, file and line of the lake that holds a selected row."""
    selected = "SELECT corpus, utterance_id, source, why FROM selected ORDER BY ALL"
    for corpus, utterance_id, source, why in _rows(connection, selected):
        yield Holding("row", f"{corpus}: {source}", utterance_id, why)
    shared = "SELECT corpus, utterance_id, source, audio_digest FROM sharing ORDER BY ALL"
    for corpus, utterance_id, source, digest in _rows(connection, shared):
        yield Holding(
            "shared_audio", f"{corpus}: {source}", utterance_id, f"has the same audio {digest[:16]}"
        )
    files = """SELECT path, audio_digest, path IN (SELECT path FROM gone_files) AS goes FROM (
        SELECT DISTINCT unnest([audio_path, view_path]) AS path, audio_digest FROM selected
        ) WHERE path IS NOT NULL ORDER BY ALL"""
    for path, digest, goes in _rows(connection, files):
        yield Holding("stored_audio", path, digest, "" if goes else "stays: other rows have it too")
    for name in known_tables():
        for path in lake.list_files(f"tables/{name}"):
            if name not in _NOT_LISTED and path.endswith(".parquet"):
                yield from _in_table(connection, lake, name, path)


def _in_table(
    connection: duckdb.DuckDBPyConnection, lake: Lake, name: TableName, path: str
) -> Iterator[Holding]:
    columns = polars_schema(name)
    condition = held_by(list(columns), _corpus_of(path), parquet(lake, [path]))
    if name == "training_rows":
        rows = f"SELECT row_id, jsonl_path, line FROM {parquet(lake, [path])} AS held WHERE {condition} ORDER BY line"
        for row_id, jsonl_path, line in _rows(connection, rows):
            yield Holding("jsonl_line", f"{jsonl_path}:{line}", row_id)
    what = (
        "utterance_id" if "utterance_id" in columns else "row_id" if "row_id" in columns else "audio_digest"
    )
    rows = f"SELECT {what} FROM {parquet(lake, [path])} AS held WHERE {condition} ORDER BY ALL"
    for (found,) in _rows(connection, rows):
        yield Holding(name, path, found)


def held_by(columns: Sequence[str], corpus: str, relation: str) -> str:
    """SQL's condition that a row of a table with these columns is, or holds, a selected one.

    Args:
        corpus: Of tables that do not state it.
        relation: The table.
    """
    scope = "corpus" if "corpus" in columns else quoted(corpus)
    found = []
    for of_corpus, of_row in ROW_COLUMNS:
        if of_row in columns:
            named = of_corpus if of_corpus in columns else quoted(corpus)
            found.append(f"({named}, {of_row}) IN (SELECT (corpus, utterance_id) FROM selected)")
    if "utterance_ids" in columns:
        made_of = f"SELECT row_id, unnest(utterance_ids) AS utterance_id FROM {relation}"
        of_corpus = f"SELECT utterance_id FROM selected WHERE corpus = {quoted(corpus)}"
        found.append(
            f"row_id IN (SELECT row_id FROM ({made_of}) SEMI JOIN ({of_corpus}) USING (utterance_id))"
        )
    if not found and "audio_digest" in columns:
        found.append(f"({scope}, audio_digest) IN (SELECT (corpus, audio_digest) FROM gone_audio)")
    if not found and {"source_digest", "start_s", "end_s"} <= set(columns):
        channel = "channel" if "channel" in columns else "NULL"
        found.append(
            f"""EXISTS (SELECT 1 FROM gone_contents AS gone WHERE gone.source_digest = held.source_digest
            AND coalesce(gone.segment_start_s, 0) = held.start_s AND gone.segment_end_s IS NOT DISTINCT FROM held.end_s
            AND ({channel} IS NULL OR gone.channel IS NULL OR gone.channel = {channel}))"""
        )
    elif not found and "source_digest" in columns:
        found.append("source_digest IN (SELECT source_digest FROM gone_sources)")
    if not found and "uri" in columns:
        found.append("uri IN (SELECT audio_uri FROM gone_uris)")
    if {"audio_digest", "augmentation_digest"} <= set(columns):  # what was made of it
        found.append(
            "(audio_digest, augmentation_digest) IN (SELECT (audio_digest, augmentation_digest) FROM noisy)"
        )
    if "augmentation" in columns:  # noise is named in it
        found.append(f"coalesce({_NOISE} IN (SELECT audio_digest FROM gone_audio), false)")
    return f"coalesce({' OR '.join(found)}, false)" if found else "false"


def _corpus_of(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".parquet").partition("--")[0]


def _rows(connection: duckdb.DuckDBPyConnection, statement: str) -> Iterator[tuple[str, ...]]:
    for batch in batches_of(connection, statement):
        yield from batch.iter_rows()


def _relation(lake: Lake, name: TableName) -> str:
    """All partitions of a table, of whatever version: columns that one lacks are null."""
    paths = [path for path in lake.list_files(f"tables/{name}") if path.endswith(".parquet")]
    empty = ", ".join(
        f"NULL::{_DUCK[str(kind)]} AS {column}"
        for column, kind in polars_schema(name).items()
        if str(kind) in _DUCK
    )
    found = f"SELECT {empty} WHERE false"
    if paths:
        found += f" UNION ALL BY NAME SELECT * FROM {parquet(lake, paths).removesuffix(')')}, union_by_name = true)"
    return f"({found})"
