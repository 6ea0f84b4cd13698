"""The table ``audio_tokens`` of a corpus while it is being made: what is missing, and what a killed run had done.

Tokens go into small Parquet parts under ``work/audio_tokens/<corpus>/`` as they are made; at the end the table and the
parts become the new table, and the parts go. No more than a batch of rows is in memory at once.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import duckdb
import polars as pl
import pyarrow.parquet as pq

from training_jobs.heard_audio import heard_path, require_heard
from validation.batches import ROWS_PER_GROUP, batches_of, database, files_of, parquet, write_batches
from validation.lake import Lake
from validation.schemas import STORED_RATE_HZ, frame_from_rows, polars_schema
from validation.tasks import NOISE

_KEY = ["tokenizer_digest", "audio_digest", "augmentation_digest"]
_SAME = "known.audio_digest = wanted.audio_digest AND known.augmentation_digest = wanted.augmentation_digest"
_SAME_VIEW = "known.view_digest IS NOT DISTINCT FROM wanted.view_digest"
_PART_S = 30.0  # of work that a kill can lose


class TokenStore:
    """Token rows of one corpus.

    Args:
        tokenizer_digest: Of the tokenizer whose tokens are wanted; those of others stay, as long as their audio does.
        rate_hz: The rate at which it works, which says in what form it hears a recording.

    Raises:
        training_jobs.heard_audio.MissingViewError: if the corpus is not stored in that form.
    """

    def __init__(self, lake: Lake, corpus: str, tokenizer_digest: str, rate_hz: int = STORED_RATE_HZ) -> None:
        require_heard(lake, [corpus], rate_hz)
        self._heard_path = heard_path(rate_hz)
        self._lake = lake
        self._corpus = corpus
        self._tokenizer_digest = tokenizer_digest
        self._pending: list[dict[str, Any]] = []
        self._written_at = time.monotonic()

    def counts(self) -> tuple[int, int, int]:
        """Audios that are to have tokens; recordings that have none yet; and variants that have none yet."""
        with database(self._lake) as connection:
            self._create_views(connection)
            wanted = connection.execute("SELECT count(*) FROM wanted").fetchone()
            missing = connection.execute(
                "SELECT count(*) FILTER (augmentation = ''), count(*) FILTER (augmentation <> '') FROM missing"
            ).fetchone()
        assert wanted is not None and missing is not None
        return int(wanted[0]), int(missing[0]), int(missing[1])

    def missing(self) -> Iterator[pl.DataFrame]:
        """What has no tokens yet, in batches: ``audio_digest``, ``view_digest``, ``audio_path``, ``duration_s``,
        ``augmentation`` (JSON, empty for the recording itself) and ``augmentation_digest``; variants of a recording
        follow one another."""
        with database(self._lake) as connection:
            self._create_views(connection)
            yield from batches_of(
                connection, "SELECT * FROM missing ORDER BY audio_digest, augmentation_digest"
            )

    def add(
        self,
        audio_digest: str,
        augmentation_digest: str,
        token_ids: list[int],
        duration_s: float,
        view_digest: str | None = None,
    ) -> None:
        """Keep the tokens of one audio; now and then all of them so far are written."""
        self._pending.append(
            {
                "corpus": self._corpus,
                "audio_digest": audio_digest,
                "view_digest": view_digest,
                "tokenizer_digest": self._tokenizer_digest,
                "augmentation_digest": augmentation_digest,
                "token_ids": token_ids,
                "duration_s": duration_s,
            }
        )
        if len(self._pending) >= ROWS_PER_GROUP or time.monotonic() - self._written_at > _PART_S:
            self._write_part()

    def finish(self) -> None:
        """Write the table: what is wanted of what was there and of the parts. Then the parts go."""
        self._write_part()
        parts = self._parts()
        with database(self._lake) as connection:
            self._create_views(connection)
            columns = ", ".join(polars_schema("audio_tokens"))
            # Of another tokenizer, it is not known whether it heard the view.
            statement = f"""SELECT {columns} FROM known SEMI JOIN wanted ON {_SAME}
                AND (known.tokenizer_digest <> '{self._tokenizer_digest}' OR {_SAME_VIEW})
                ORDER BY {", ".join(_KEY)}"""  # noqa: S608 - names of columns
            rows = _each_once(batches_of(connection, statement))
            write_batches(self._lake, "audio_tokens", self._corpus, rows)
        for path in parts:
            self._lake.remove(path)

    def _write_part(self) -> None:
        if self._pending:
            part = frame_from_rows("audio_tokens", self._pending)
            with self._lake.atomic_write(f"{self._folder}/{uuid.uuid4().hex}.parquet") as stream:
                part.write_parquet(stream, compression="zstd")
        self._pending, self._written_at = [], time.monotonic()

    @property
    def _folder(self) -> str:
        return f"work/audio_tokens/{self._corpus}"

    def _parts(self) -> list[str]:
        return [path for path in self._lake.list_files(self._folder) if path.endswith(".parquet")]

    def _known(self) -> list[str]:
        """The table and the parts; files of another version's form are made anew."""
        table = self._lake.table_path("audio_tokens", self._corpus)
        paths = [*([table] if self._lake.exists(table) else []), *self._parts()]
        return [path for path in paths if self._columns(path) == list(polars_schema("audio_tokens"))]

    def _columns(self, path: str) -> list[str]:
        with self._lake.open(path) as stream:
            return list(pq.read_schema(stream).names)

    def _create_views(self, connection: duckdb.DuckDBPyConnection) -> None:
        """``wanted``: audios that shall have tokens; ``known``: all token rows; ``missing``: wanted but not known."""
        view = "min(view_digest)" if self._heard_path == "view_path" else "NULL::VARCHAR"
        recordings = f"""SELECT audio_digest, {view} AS view_digest, min({self._heard_path}) AS audio_path,
            min(duration_s) AS duration_s
            FROM {files_of(self._lake, "accepted_utterances", [self._corpus])}
            WHERE audio_digest IS NOT NULL AND NOT list_contains(tasks, '{NOISE}') GROUP BY audio_digest"""  # noqa: S608
        wanted = f"SELECT *, '' AS augmentation, '' AS augmentation_digest FROM ({recordings})"  # noqa: S608
        if self._lake.has_table("augmentations", self._corpus):
            variants = f"""SELECT audio_digest, augmentation_digest, min(augmentation) AS augmentation,
                min(duration_s) AS duration_s
                FROM {files_of(self._lake, "augmentations", [self._corpus])} GROUP BY ALL"""  # noqa: S608
            wanted += f""" UNION ALL BY NAME SELECT variants.*, view_digest, audio_path
                FROM ({variants}) AS variants JOIN ({recordings}) AS recordings USING (audio_digest)"""  # noqa: S608
        connection.execute(f"CREATE VIEW wanted AS {wanted}")
        paths = self._known()
        known = f"SELECT * FROM {parquet(self._lake, paths)}" if paths else _nothing()  # noqa: S608
        connection.execute(f"CREATE VIEW known AS {known}")
        connection.execute(
            "CREATE VIEW missing AS SELECT * FROM wanted ANTI JOIN (SELECT * FROM known WHERE tokenizer_digest = "  # noqa: S608
            f"'{self._tokenizer_digest}') AS known ON {_SAME} AND {_SAME_VIEW}"
        )


def _nothing() -> str:
    columns = ", ".join(f"NULL::VARCHAR AS {name}" for name in polars_schema("audio_tokens"))
    return f"SELECT {columns} WHERE FALSE"


def _each_once(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Sorted rows without repeated keys: a run that was killed behind its table left parts with the same rows."""
    last: tuple[Any, ...] | None = None
    for batch in batches:
        key = pl.struct(_KEY)
        frame = batch.filter((key != key.shift(1)).fill_null(True))
        if frame.height and last == frame.select(_KEY).row(0):
            frame = frame[1:]
        if frame.height:
            last = frame.select(_KEY).row(-1)
            yield frame
