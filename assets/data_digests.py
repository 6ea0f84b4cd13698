"""Digests of what the training programs read from the lake, so that a stage is stale only when its data changed.

Each is of a set of rows: of all that makes up a row, and how many there are, not of their order or of where files lie.
DuckDB sums the rows' MD5 in two halves, in memory that does not grow with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from validation.augmentation.rows import rows_with_variants
from validation.batches import database, files_of
from validation.digests import digest_value
from validation.lake import Lake
from validation.metadata import statement_of
from validation.tasks import NOISE


def training_audio_digest(lake: Lake, corpora: list[str]) -> str:
    """Digest of the accepted audio of the training split, in every form that is stored, noise left out."""
    files = files_of(lake, "accepted_utterances", corpora)
    rows = f"""SELECT audio_digest, view_digest FROM {files}
        WHERE split = 'train' AND audio_digest IS NOT NULL AND NOT list_contains(tasks, '{NOISE}')"""  # noqa: S608 - our own names
    return _digest(lake, rows, ["audio_digest", "view_digest"])


def accepted_audio_digest(lake: Lake, corpus: str) -> str:
    """Digest of all accepted audio of one corpus."""
    files = files_of(lake, "accepted_utterances", [corpus])
    rows = f"SELECT audio_digest, view_digest FROM {files} WHERE audio_digest IS NOT NULL"  # noqa: S608 - paths are quoted
    return _digest(lake, rows, ["audio_digest", "view_digest"])


def rows_digest(
    lake: Lake, corpora: list[str], split: Literal["train", "test"], fields: Sequence[str] = ()
) -> str:
    """Digest of the training rows of one split, variants included: their messages and their audio.

    Args:
        fields: Of :mod:`validation.metadata`: what else of a row counts, because a mixture asks for it.
    """
    rows = f"SELECT * FROM ({rows_with_variants(lake, corpora)}) WHERE split = '{split}'"  # noqa: S608 - split is a name of ours
    columns = ["corpus", "row_id", "task", "language", "speaker", "messages", "audio_digests"]
    return _digest(lake, rows, [*columns, "augmentation_digests", *map(statement_of, fields)])


def sources_digest(lake: Lake, corpora: list[str]) -> str:
    """Digest of where each accepted utterance stands: what a mixture of data files goes by."""
    rows = f"SELECT * FROM {files_of(lake, 'accepted_utterances', corpora)}"  # noqa: S608 - paths are quoted
    return _digest(lake, rows, ["corpus", "utterance_id", "source"])


def _digest(lake: Lake, rows: str, columns: Sequence[str]) -> str:
    row = f"to_json([{', '.join(f'to_json({column})' for column in columns)}])::VARCHAR"
    statement = f"""SELECT count(*), sum(md5_number_lower(row))::VARCHAR, sum(md5_number_upper(row))::VARCHAR
        FROM (SELECT {row} AS row FROM ({rows}))"""  # noqa: S608 - our own expressions
    with database(lake) as connection:
        found = connection.execute(statement).fetchone()
    assert found is not None
    return digest_value(list(found))
