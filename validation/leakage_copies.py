"""Which stored recordings are copies of which: suspected by their fingerprints, confirmed by their waveforms."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import duckdb
import numpy as np
import polars as pl
import soundfile as sf
from numpy.typing import NDArray

from validation.errors import UserError
from validation.fingerprint import FEWEST_FRAMES, FRAMES_PER_SECOND
from validation.fingerprint_confirm import LEAST_CORRELATION, correlation
from validation.fingerprint_match import find_copies
from validation.lake import Lake
from validation.leakage_store import Fingerprints
from validation.remote import at_once
from validation.stored_audio import STORED_RATE_HZ

_CLIPS_PER_INDEX = 1024
# Pairs whose results wait to be collected: some megabytes.
_PAIRS_AT_ONCE = 4096

_COPIES = {
    "digest": pl.String,
    "of_digest": pl.String,
    "offset": pl.Int64,
    "bit_error_rate": pl.Float64,
    "seconds": pl.Float64,
    "correlation": pl.Float64,
    "limit": pl.Float64,
}


class StoredAudioError(UserError):
    """Audio that a table names and that the lake does not have, or not whole."""


def read_stored(lake: Lake, path: str) -> NDArray[np.float32]:
    """The samples of a file of ``audio_22k``, at :data:`STORED_RATE_HZ`.

    Raises:
        StoredAudioError: naming the file.
    """
    try:
        with lake.open(path) as stream:
            samples_N, rate_hz = sf.read(io.BytesIO(stream.read()), dtype="float32")
    except FileNotFoundError as error:
        raise StoredAudioError(f"{lake.uri(path)}: is gone; run the step audio_22k again") from error
    except sf.LibsndfileError as error:
        raise StoredAudioError(f"{lake.uri(path)}: is not whole ({error}); run audio_22k again") from error
    if rate_hz != STORED_RATE_HZ or samples_N.ndim != 1:
        detail = f"{rate_hz} Hz, {samples_N.ndim} dimensions; wanted is mono at {STORED_RATE_HZ} Hz"
        raise StoredAudioError(f"{lake.uri(path)}: {detail}; run audio_22k again")
    return np.asarray(samples_N, dtype=np.float32)


def copies_of(
    connection: duckdb.DuckDBPyConnection, lake: Lake, corpora: Sequence[str], digests: set[str]
) -> tuple[pl.DataFrame, int]:
    """Audio of the corpora (``digest``) that is a copy of other audio, one of ``digests`` (``of_digest``).

    Needs the view ``utterances``. Also gives how many of ``digests`` are too short to be known by anything but
    their samples.
    """
    fingerprints = Fingerprints(lake, corpora)
    found = [pl.DataFrame(schema=_COPIES)]
    too_short = 0
    for names, clips in fingerprints.of_digests(digests, _CLIPS_PER_INDEX):
        too_short += int((clips.loud() < FEWEST_FRAMES).sum())
        matches = find_copies([clips], fingerprints.clips)
        of_clip = fingerprints.digests(matches["clip"].to_numpy())
        of_query = dict(enumerate(names, start=clips.first))
        found.append(_confirmed(connection, lake, matches, of_clip, of_query))
    return pl.concat(found).unique(["digest", "of_digest"], maintain_order=True), too_short


def copies_within(connection: duckdb.DuckDBPyConnection, lake: Lake, corpora: Sequence[str]) -> pl.DataFrame:
    """Pairs of different audio of the corpora that are one recording, in either order, some of them twice.

    Needs the view ``utterances``.
    """
    fingerprints = Fingerprints(lake, corpora)
    matches = find_copies(fingerprints.clips(), fingerprints.clips, flips=False, is_same_set=True)
    names = fingerprints.digests(pl.concat([matches["query"], matches["clip"]]).to_numpy())
    return _confirmed(connection, lake, matches, names, names)


def _confirmed(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    matches: pl.DataFrame,
    of_clip: dict[int, str],
    of_query: dict[int, str],
) -> pl.DataFrame:
    """The suspects whose waveforms agree."""
    if matches.is_empty():
        # Without a mapping, columns of numbers would stay such.
        return pl.DataFrame(schema=_COPIES)
    named = matches.select(
        digest=pl.col("clip").replace_strict(of_clip, return_dtype=pl.String),
        of_digest=pl.col("query").replace_strict(of_query, return_dtype=pl.String),
        offset="offset",
        bit_error_rate="bit_error_rate",
        seconds=pl.col("frames") / FRAMES_PER_SECOND,
    )
    # The very same samples are another rule's.
    suspects = named.filter(pl.col("digest") != pl.col("of_digest"))
    paths = _paths(connection, suspects)

    def alike(row: tuple[str, str, int]) -> float:
        digest, of_digest, offset = row
        query_N, clip_M = (read_stored(lake, paths[name]) for name in (of_digest, digest))
        return correlation(query_N, clip_M, STORED_RATE_HZ, offset)

    found: list[float] = []
    rows = suspects.select("digest", "of_digest", "offset")
    with ThreadPoolExecutor(at_once(lake.url)) as threads:
        for part in rows.iter_slices(_PAIRS_AT_ONCE):
            found.extend(threads.map(alike, part.iter_rows()))
    measured = suspects.with_columns(
        correlation=pl.Series(found, dtype=pl.Float64), limit=pl.lit(LEAST_CORRELATION)
    )
    return measured.filter(pl.col("correlation") >= pl.col("limit"))


def _paths(connection: duckdb.DuckDBPyConnection, suspects: pl.DataFrame) -> dict[str, str]:
    wanted = pl.concat([suspects["digest"], suspects["of_digest"].alias("digest")]).unique().to_frame()
    connection.register("suspects", wanted.to_arrow())
    rows = connection.execute(
        "SELECT audio_digest, min(audio_path) FROM utterances "
        "SEMI JOIN suspects ON audio_digest = digest GROUP BY audio_digest"
    ).fetchall()
    connection.unregister("suspects")
    return dict(rows)
