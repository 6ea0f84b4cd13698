"""The utterances of a corpus with their stored audio and its measures, side by side, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from validation.batches import read_batches
from validation.errors import UserError
from validation.lake import Lake
from validation.schemas import empty_frame

_AUDIO = ("utterance_id", "audio_path", "audio_digest", "view_path", "view_digest", "fault", "promised_s")
_ROWS = 4_096  # at once: with all their columns, several copies of them exist


def candidates(lake: Lake, corpus: str, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """The utterances that reached acceptance, in the order of the corpus: with audio that is stored, or text only.

    An utterance whose audio ended in ``audio_22k`` is not among them: it has its ledger row. Nothing is sorted or
    looked up, since the three tables of a corpus have one order.

    Args:
        columns: Of ``raw_utterances``, with ``utterance_id`` and ``audio_uri``, and no measures; ``None``: all of them
            with all measures.

    Raises:
        validation.lake.MissingTableError: if an earlier step has not been done.
        UserError: if the tables are not of one corpus in one order.
    """
    stored = _stored(lake, corpus, ["utterance_id"] if columns else None)
    held = next(stored)
    for raw in read_batches(lake, "raw_utterances", corpus, columns, _ROWS):
        ids = raw["utterance_id"].implode()
        # As long as the last row held belongs to this batch, the next one may, too.
        while held.is_empty() or held["utterance_id"].tail(1).is_in(ids).item():
            more = next(stored, None)
            if more is None:
                break
            held = pl.concat([held, more])
        if raw["utterance_id"].equals(held["utterance_id"][: raw.height]):
            # Nothing was lost, so nothing has to be copied.
            joined = raw.hstack(held[: raw.height].drop("utterance_id"))
        else:
            joined = raw.join(held, on="utterance_id", how="left", maintain_order="left")
        held = held[joined["audio_path"].count() :]
        if held["utterance_id"].is_in(ids).any():
            raise _disorder(lake, corpus, held["utterance_id"][0])
        batch = joined.filter(pl.col("audio_uri").is_null() | pl.col("audio_path").is_not_null())
        del raw, joined  # they would be held while the batch is used
        yield batch
        del batch
    rest = pl.concat([held, *stored])
    if rest.height:
        raise _disorder(lake, corpus, rest["utterance_id"][0])


def _stored(lake: Lake, corpus: str, measures: Sequence[str] | None) -> Iterator[pl.DataFrame]:
    """Rows of ``audio_22k`` with those of ``audio_quality`` beside them; at first none, which has all columns."""
    measured = [name for name in empty_frame("audio_quality").columns if measures is None or name in measures]
    beside = [name for name in measured if name not in ("corpus", "utterance_id")]
    yield empty_frame("audio_22k").select(_AUDIO).hstack(empty_frame("audio_quality").select(beside))
    audio = read_batches(lake, "audio_22k", corpus, _AUDIO, _ROWS)
    quality = read_batches(lake, "audio_quality", corpus, measured, _ROWS)
    one, other = next(audio, None), next(quality, None)
    while one is not None and other is not None:
        rows = min(one.height, other.height)
        if not one["utterance_id"][:rows].equals(other["utterance_id"][:rows]):
            raise _disorder(lake, corpus, one["utterance_id"][0])
        yield one[:rows].hstack(other[:rows].select(beside))
        one = one[rows:] if rows < one.height else next(audio, None)
        other = other[rows:] if rows < other.height else next(quality, None)
    left = one if one is not None else other
    if left is not None and left.height:
        raise _disorder(lake, corpus, left["utterance_id"][0])


def _disorder(lake: Lake, corpus: str, utterance_id: str) -> UserError:
    return UserError(
        f"corpus {corpus!r}: from {utterance_id!r} on, audio_22k and audio_quality in {lake.url} are not made from "
        "raw_utterances as it is: run audio_22k and audio_quality again"
    )
