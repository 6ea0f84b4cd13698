"""Which of a library's clips hold the same recording as a set of queries, by their fingerprints, in bounded memory.

An inverted index over a block of the queries (frame's bits -> clip and frame) is held in memory; the library is
streamed past it. A frame of the index stands under its own 32 bits and, where ``flips`` is set, under the 32 words
that differ from it in one bit, since of a short clip's frames a coder may leave none whole. Every hit says at which
offset the two clips may be one; there the bits of all frames that both have are compared.

Memory: some 60 MB for a block of 2**20 index entries (about 250 clips of 7 s with flips, 10,000 without), whatever the
library's size.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from validation.allocators import give_back_now
from validation.fingerprint import BITS, FEWEST_FRAMES, limit_for

BLOCK_ENTRIES = 1 << 20
# Of a clip longer than this many frames, every second, third or fourth frame is in the index.
_ALL_FRAMES = 128
_MOST_STRIDE = 4
# A word of more frames of the index than this is that of a tone or a hum: it says nothing.
_MOST_POSTINGS = 256
_FILTER_BITS = 27
_SPREAD = np.uint32(0x9E3779B1)  # Knuth's multiplicative hash: the golden ratio of 2**32
_COMPARED_AT_ONCE = 1 << 20
_WORDS_AT_ONCE = 1 << 18
# A tone's word is in every frame of a clip, and each of them meets all of the index that have it.
_HITS_AT_ONCE = 1 << 20
_ABOVE = (
    1 if sys.byteorder == "little" else 0
)  # of the two halves of a 64-bit number, the one with the high bits

# Of the shorter clip's loud frames, this share must be compared; three seconds in common are enough in any case.
_LEAST_SHARE = 0.5
_ENOUGH_FRAMES = 188


@dataclass(frozen=True, slots=True)
class Clips:
    """Some fingerprints, one after the other.

    Attributes:
        first: Number of the first clip, counted over all clips of its kind.
        words: All frames.
        bounds: Where each clip begins in ``words``, and where the last one ends.
    """

    first: int
    words: NDArray[np.uint32]
    bounds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def loud(self) -> NDArray[np.int64]:
        """Loud frames of each clip."""
        found = np.empty(len(self), dtype=np.int64)
        for start, stop in self.stretches():
            part = self.part(start, stop)
            counted = np.concatenate([[0], np.cumsum(part.words != 0)])
            found[start:stop] = np.diff(counted[part.bounds])
        return found

    def stretches(self) -> Iterator[tuple[int, int]]:
        """First clip and the one behind the last, of parts with a bounded number of frames or one clip."""
        cuts = np.searchsorted(self.bounds, np.arange(_WORDS_AT_ONCE, self.bounds[-1], _WORDS_AT_ONCE))
        return pairwise(np.unique([0, *cuts, len(self)]).tolist())

    def part(self, start: int, stop: int) -> Clips:
        """The clips ``start`` to ``stop``, counted from this object's first."""
        bounds = self.bounds[start : stop + 1]
        return Clips(self.first + start, self.words[bounds[0] : bounds[-1]], bounds - bounds[0])


_MATCHES = {
    "query": pl.Int64,
    "clip": pl.Int64,
    "offset": pl.Int64,
    "frames": pl.Int64,
    "bit_error_rate": pl.Float64,
    "limit": pl.Float64,
}


def find_copies(
    queries: Iterable[Clips],
    library: Callable[[], Iterable[Clips]],
    flips: bool = True,
    is_same_set: bool = False,
    block_entries: int = BLOCK_ENTRIES,
) -> pl.DataFrame:
    """Pairs of one recording: ``query`` and ``clip`` (their numbers), each pair once, at its best offset.

    Args:
        library: Gives all clips anew, once per block of the queries.
        flips: Also index the words that differ in one bit. Of short clips that a coder changed, a quarter is missed
            without; the index has 33 times as many entries with them.
        is_same_set: Queries and library are the same clips: pairs are given once, the lower number as the query.

    Returns:
        ``offset``: frames (16 ms) by which the query begins after the clip; ``frames``: compared ones;
        ``bit_error_rate`` over those, and the ``limit`` that it keeps to.
    """
    found = [pl.DataFrame(schema=_MATCHES)]
    for block in _blocks(queries, flips, block_entries):
        index = _Index(block, flips)
        del block
        for clips in library():
            matches = index.matches(clips, is_same_set)
            if matches.height:
                found.append(matches)
        del index  # before the next one is made
        give_back_now()
    return pl.concat(found).sort("query", "clip")


def _blocks(queries: Iterable[Clips], flips: bool, entries: int) -> Iterator[Clips]:
    """The queries, put together and cut such that the index of each part has at most about that many entries."""
    held: list[Clips] = []
    total = 0
    for clips in queries:
        loud = clips.loud()
        each = -(-loud // _stride(loud)) * (1 + BITS * flips)
        begun = np.cumsum(each) // max(entries, 1)
        edges = [0, *(np.flatnonzero(np.diff(begun)) + 1), len(clips)]
        for start, stop in pairwise(edges):
            count = int(each[start:stop].sum())
            if held and total + count > entries:
                block = _joined(held)
                held, total = [], 0  # not held twice while the block is looked for
                give_back_now()
                yield block
                del block
            if stop > start:
                held.append(clips.part(start, stop))
                total += count
    if held:
        yield _joined(held)


def _joined(parts: list[Clips]) -> Clips:
    """Clips whose numbers follow one another, as one."""
    ends = np.cumsum([part.bounds[-1] for part in parts])
    bounds = [part.bounds[1:] + end - part.bounds[-1] for part, end in zip(parts, ends, strict=True)]
    words = np.concatenate([part.words for part in parts])
    return Clips(parts[0].first, words, np.concatenate([np.zeros(1, dtype=np.int64), *bounds]))


def _stride(loud: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.clip(-(-loud // _ALL_FRAMES), 1, _MOST_STRIDE)


class _Index:
    """Sorted words of some clips' frames, and of which clip and frame each is."""

    def __init__(self, clips: Clips, flips: bool) -> None:
        self._clips = clips
        self._loud = clips.loud()
        # The word above, the place below: one array, sorted where it stands.
        halves = self._entries(flips).view(np.uint32).reshape(-1, 2)
        self._words, self._places = halves[:, _ABOVE].copy(), halves[:, 1 - _ABOVE].copy()
        del halves
        self._drop_common()
        give_back_now()  # what was there only to make them is larger than they are
        self._filter = np.zeros(1 << (_FILTER_BITS - 3), dtype=np.uint8)
        for start in range(0, len(self._words), _WORDS_AT_ONCE):
            byte, bit = _filter_place(self._words[start : start + _WORDS_AT_ONCE])
            np.bitwise_or.at(self._filter, byte, bit)

    def _entries(self, flips: bool) -> NDArray[np.uint64]:
        """Words and places of the indexed frames, sorted."""
        clips = self._clips
        parts = [self._places_of(start, stop) for start, stop in clips.stretches()]
        place = np.concatenate([np.zeros(0, dtype=np.uint64), *parts])
        del parts
        masks = [0, *(1 << bit for bit in range(BITS))] if flips else [0]
        entries = np.empty((len(masks), len(place)), dtype=np.uint64)
        np.left_shift(clips.words[place], np.uint64(BITS), out=entries[0], dtype=np.uint64)
        entries[0] |= place
        for row, mask in zip(entries[1:], masks[1:], strict=True):
            np.bitwise_xor(entries[0], np.uint64(mask << BITS), out=row)
        every = entries.ravel()
        every.sort()
        return every

    def _places_of(self, start: int, stop: int) -> NDArray[np.uint64]:
        """Where in ``words`` the frames of some clips are that stand in the index."""
        clips, loud = self._clips.part(start, stop), self._loud[start:stop]
        place = np.flatnonzero(clips.words)
        clip = np.searchsorted(clips.bounds, place, side="right") - 1
        rank = np.arange(len(place)) - np.concatenate([[0], np.cumsum(loud)])[clip]
        keep = rank % _stride(loud)[clip] == 0
        keep &= loud[clip] >= FEWEST_FRAMES
        found: NDArray[np.uint64] = (place[keep] + self._clips.bounds[start]).astype(np.uint64)
        return found

    def _drop_common(self) -> None:
        if not len(self._words):
            return
        starts = np.append(0, np.flatnonzero(self._words[1:] != self._words[:-1]) + 1)
        counts = np.diff(np.append(starts, len(self._words)))
        if counts.max() > _MOST_POSTINGS:
            keep = np.repeat(counts <= _MOST_POSTINGS, counts)
            self._words, self._places = self._words[keep], self._places[keep]

    def matches(self, clips: Clips, is_same_set: bool) -> pl.DataFrame:
        """The pairs with one of ``clips``, at their best offsets."""
        mine = self._clips
        found = [pl.DataFrame(schema=dict.fromkeys(("query", "clip", "offset"), pl.Int64))]
        for here, there in self._hits(clips.words):
            query = np.searchsorted(mine.bounds, here, side="right") - 1
            clip = np.searchsorted(clips.bounds, there, side="right") - 1
            offset = (there - clips.bounds[clip]) - (here - mine.bounds[query])
            part = pl.DataFrame({"query": query, "clip": clip, "offset": offset}).unique()
            if is_same_set:
                part = part.filter(pl.col("query") + mine.first < pl.col("clip") + clips.first)
            found.append(part)
        hits = pl.concat(found).unique()
        parts = [self._compared(clips, part) for part in _bounded(hits, mine, clips) if part.height]
        if not parts:
            return pl.DataFrame(schema=_MATCHES)
        best = pl.concat(parts).sort("bit_error_rate", "offset").unique(["query", "clip"], keep="first")
        numbered = best.with_columns(pl.col("query") + mine.first, pl.col("clip") + clips.first)
        return numbered.select(pl.col(name).cast(kind) for name, kind in _MATCHES.items())

    def _hits(self, words: NDArray[np.uint32]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Places of equal words: in the index's clips, and in ``words``; a bounded number at a time."""
        byte, bit = _filter_place(words)
        there = np.flatnonzero((self._filter[byte] & bit) != 0)
        there = there[words[there] != 0]
        sought, inverse = np.unique(words[there], return_inverse=True)
        low = np.searchsorted(self._words, sought, side="left")
        counts = np.searchsorted(self._words, sought, side="right") - low
        begun = np.cumsum(counts[inverse]) // _HITS_AT_ONCE
        for start, stop in pairwise([0, *(np.flatnonzero(np.diff(begun)) + 1), len(there)]):
            each = counts[inverse[start:stop]]
            begin = np.repeat(low[inverse[start:stop]] - np.cumsum(each) + each, each)
            here = self._places[begin + np.arange(len(begin))].astype(np.int64)
            yield here, np.repeat(there[start:stop], each)

    def _compared(self, clips: Clips, hits: pl.DataFrame) -> pl.DataFrame:
        """The hits at whose offset the clips are one recording."""
        mine, loud = self._clips, clips.loud()
        query, clip, offset = (hits[name].to_numpy() for name in ("query", "clip", "offset"))
        start, length = _overlap(mine, clips, query, clip, offset)
        ends = np.cumsum(length)
        step = np.arange(int(ends[-1])) - np.repeat(ends - length, length)
        left = mine.words[np.repeat(mine.bounds[query] + start - offset, length) + step]
        right = clips.words[np.repeat(clips.bounds[clip] + start, length) + step]
        both = (left != 0) & (right != 0)
        wrong = np.bitwise_count(left ^ right).astype(np.int64) * both
        frames = np.add.reduceat(both.astype(np.int64), ends - length)
        rate = np.add.reduceat(wrong, ends - length) / np.maximum(frames * BITS, 1)
        shorter = np.minimum(self._loud[query], loud[clip])
        needed = np.maximum(np.minimum(_LEAST_SHARE * shorter, _ENOUGH_FRAMES), FEWEST_FRAMES)
        limit = limit_for(frames)
        table = hits.with_columns(
            frames=pl.Series(frames), bit_error_rate=pl.Series(rate), limit=pl.Series(limit)
        )
        return table.filter(pl.Series((frames >= needed) & (rate <= limit)))


def _overlap(
    mine: Clips,
    clips: Clips,
    query: NDArray[np.int64],
    clip: NDArray[np.int64],
    offset: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First frame of the clip that both have, and how many both have; at least the one that was hit."""
    start = np.maximum(offset, 0)
    ends = np.minimum(np.diff(clips.bounds)[clip], np.diff(mine.bounds)[query] + offset)
    return start, ends - start


def _bounded(hits: pl.DataFrame, mine: Clips, clips: Clips) -> Iterator[pl.DataFrame]:
    """The hits in parts that have a bounded number of frames to compare."""
    if not hits.height:
        return
    query, clip, offset = (hits[name].to_numpy() for name in ("query", "clip", "offset"))
    _, length = _overlap(mine, clips, query, clip, offset)
    begun = np.cumsum(length) // _COMPARED_AT_ONCE
    edges = [0, *(np.flatnonzero(np.diff(begun)) + 1), hits.height]
    for start, stop in pairwise(edges):
        yield hits[int(start) : int(stop)]


def _filter_place(words: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    spread = (words * _SPREAD) >> np.uint32(BITS - _FILTER_BITS)
    return spread >> np.uint32(3), np.uint8(1) << (spread & np.uint32(7)).astype(np.uint8)
