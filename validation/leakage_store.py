"""The fingerprints of whole corpora, read a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from validation.batches import files_of, read_batches
from validation.fingerprint_match import Clips
from validation.lake import Lake

_CLIPS_AT_ONCE = 1024


class Fingerprints:
    """The fingerprints of some corpora, numbered in their order."""

    def __init__(self, lake: Lake, corpora: Sequence[str]) -> None:
        self._lake = lake
        self._corpora = tuple(corpora)
        files_of(lake, "audio_fingerprints", corpora)  # says which one is missing

    def clips(self) -> Iterator[Clips]:
        """All of them, in order."""
        first = 0
        for batch in self._batches(["frames"]):
            clips = _clips(first, batch["frames"])
            first += len(clips)
            yield clips

    def of_digests(self, digests: set[str], at_once: int) -> Iterator[tuple[list[str], Clips]]:
        """Those of these digests, numbered anew from 0, about ``at_once`` together; each digest once."""
        first, held = 0, []
        left = set(digests)
        for batch in self._batches(["audio_digest", "frames"]):
            part = batch.filter(pl.col("audio_digest").is_in(left)).unique(
                "audio_digest", maintain_order=True
            )
            left.difference_update(part["audio_digest"].to_list())
            held.append(part)
            if sum(one.height for one in held) >= at_once:
                yield _named(first, pl.concat(held))
                first += sum(one.height for one in held)
                held = []
        if held and (rest := pl.concat(held)).height:
            yield _named(first, rest)

    def digests(self, numbers: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[int, str]:
        """Digests of the clips with these numbers."""
        found: dict[int, str] = {}
        wanted = np.unique(numbers)
        first = 0
        for batch in self._batches(["audio_digest"]):
            here = wanted[(wanted >= first) & (wanted < first + batch.height)]
            found.update(
                zip(here.tolist(), batch["audio_digest"].gather(here - first).to_list(), strict=True)
            )
            first += batch.height
        return found

    def _batches(self, columns: list[str]) -> Iterator[pl.DataFrame]:
        for corpus in self._corpora:
            yield from read_batches(self._lake, "audio_fingerprints", corpus, columns, _CLIPS_AT_ONCE)


def _named(first: int, frame: pl.DataFrame) -> tuple[list[str], Clips]:
    return frame["audio_digest"].to_list(), _clips(first, frame["frames"])


def _clips(first: int, frames: pl.Series) -> Clips:
    bounds = np.concatenate([[0], np.cumsum(frames.list.len().to_numpy())]).astype(np.int64)
    words = frames.explode(empty_as_null=False).to_numpy() if bounds[-1] else np.zeros(0, dtype=np.uint32)
    return Clips(first, words, bounds)
