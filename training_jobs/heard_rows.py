"""Held-out rows as another audio tokenizer hears them: encoded here, from the lake's recordings, and not stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from training_jobs.evaluation_rows import EvaluationError, EvaluationRow
from training_jobs.heard_audio import heard_path, require_heard
from training_jobs.lake_audio import read_waveforms
from validation.batches import database, files_of
from validation.lake import Lake

if TYPE_CHECKING:
    from models import AudioTokenizer


def rows_heard_by(
    tokenizer: AudioTokenizer, lake: Lake, corpora: Sequence[str], rows: Sequence[EvaluationRow]
) -> list[EvaluationRow]:
    """The same rows with the token numbers of ``tokenizer``.

    Raises:
        training_jobs.heard_audio.MissingViewError: if it works at 16 kHz, and a corpus has no such view.
        training_jobs.lake_audio.StoredAudioError: if a recording is not there.
        EvaluationError: if a row's recording is no longer among the accepted ones.
    """
    require_heard(lake, corpora, tokenizer.sample_rate)
    digests = _digests(lake, corpora, rows)
    wanted = sorted({digest for row_digests in digests for digest in row_digests})
    paths = _paths(lake, corpora, wanted, heard_path(tokenizer.sample_rate))
    for row, row_digests in zip(rows, digests, strict=True):
        if lacking := [digest for digest in row_digests if digest not in paths]:
            raise EvaluationError(
                f"row {row.row_id!r} of corpus {row.corpus!r}: its audio {lacking[0]} is not stored any more; "
                "materialise audio_22k and training_jsonl again"
            )
    waveforms = read_waveforms(lake, (paths[digest] for digest in wanted))
    tokens = {
        digest: list(tokenizer.encode(samples, rate_hz))
        for digest, (samples, rate_hz) in zip(wanted, waveforms, strict=True)
    }
    return [
        replace(row, audio_tokens=[tokens[digest] for digest in row_digests])
        for row, row_digests in zip(rows, digests, strict=True)
    ]


def _digests(lake: Lake, corpora: Sequence[str], rows: Sequence[EvaluationRow]) -> list[list[str]]:
    """Of the recordings in each row's prompt, which are the first ones of its turns."""
    statement = (
        f"SELECT corpus, row_id, audio_digests FROM {files_of(lake, 'training_rows', corpora)} "  # noqa: S608
        "WHERE split = 'test'"
    )
    with database(lake) as connection:
        found = {(corpus, row): digests for corpus, row, digests in connection.execute(statement).fetchall()}
    return [found[row.corpus, row.row_id][: len(row.audio_tokens)] for row in rows]


def _paths(lake: Lake, corpora: Sequence[str], wanted: Sequence[str], column: str) -> dict[str, str]:
    statement = (
        f"SELECT audio_digest, min({column}) FROM {files_of(lake, 'accepted_utterances', corpora)} "  # noqa: S608
        f"WHERE {column} IS NOT NULL AND list_contains(?, audio_digest) GROUP BY audio_digest"
    )
    with database(lake) as connection:
        return dict(connection.execute(statement, [wanted]).fetchall())
