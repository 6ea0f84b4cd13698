"""The clockwork of the latency benchmark: timing streams of tokens, and where in them the first audio chunk is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

FIRST_CHUNK_TOKENS = 8  # audio tokens of the first chunk: what a streaming vocoder starts on
FirstChunkBasis = Literal["reply", "interleaving_ratio"]


@dataclass(frozen=True)
class Timing:
    """One generation: the ids, and for each the seconds from the call to its arrival."""

    token_ids: list[int]
    arrivals_s: list[float]


def time_stream(begin: Callable[[], Iterable[int]], synchronise: Callable[[], None]) -> Timing:
    """Time a stream of tokens from before it is begun; ``synchronise`` waits for the device."""
    synchronise()
    began = time.perf_counter()
    ids, arrivals = [], []
    for token in begin():
        synchronise()
        ids.append(token)
        arrivals.append(time.perf_counter() - began)
    return Timing(ids, arrivals)


def time_call(call: Callable[[], object], synchronise: Callable[[], None]) -> float:
    """Seconds that a call takes; ``synchronise`` waits for the device."""
    synchronise()
    began = time.perf_counter()
    call()
    synchronise()
    return time.perf_counter() - began


def position_of_audio(token_ids: Sequence[int], is_audio: Callable[[int], bool], count: int) -> int | None:
    """Index of the ``count``-th audio token; ``None`` where there are fewer."""
    positions = [index for index, token in enumerate(token_ids) if is_audio(token)]
    return positions[count - 1] if len(positions) >= count else None


def first_chunk_positions(
    timings: Mapping[str, Sequence[Timing]], is_audio: Callable[[int], bool], by_ratio: int
) -> tuple[FirstChunkBasis, dict[str, list[int]]]:
    """Where the first audio chunk is complete in each generation of each mode.

    That is the eighth audio token of the reply. Where any reply has fewer, all are taken at ``by_ratio``, the index
    at which the interleaving ratio puts it: modes are compared at one and the same definition.
    """
    found = {
        mode: [position_of_audio(timing.token_ids, is_audio, FIRST_CHUNK_TOKENS) for timing in runs]
        for mode, runs in timings.items()
    }
    complete = {mode: [place for place in places if place is not None] for mode, places in found.items()}
    if all(len(complete[mode]) == len(places) for mode, places in found.items()):
        return "reply", complete
    return "interleaving_ratio", {mode: [by_ratio] * len(runs) for mode, runs in timings.items()}
