"""The clockwork of the latency benchmark: timing streams of tokens, and figures from the times."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

FIRST_CHUNK_TOKENS = 8  # audio tokens of the first chunk: what a streaming vocoder starts on
FirstChunkBasis = Literal["reply", "interleaving_ratio"]


@dataclass(frozen=True)
class Timing:
    """One generation: the ids, and for each the seconds from the call to its arrival."""

    token_ids: list[int]
    arrivals_s: list[float]


@dataclass(frozen=True)
class ModeFigures:
    """One decode mode; p50 and p95 are over the repeats.

    Attributes:
        prefill_ms: until the first token is there, which includes reading the prompt.
        first_chunk_ms: until the first eight audio tokens are there.
        tokens_per_second: all new tokens by the whole time, prefill included.
        speedup: of the median tokens per second over Vanilla's.
        real_time_factor: seconds of decoding per second of speech, at the interleaving's steady state.
    """

    mode: str
    prefill_ms_p50: float
    prefill_ms_p95: float
    first_chunk_ms_p50: float
    first_chunk_ms_p95: float
    tokens_per_second_p50: float
    tokens_per_second_p95: float
    speedup: float
    real_time_factor: float


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


def summarise(
    timings: Mapping[str, Sequence[Timing]],
    chunk_positions: Mapping[str, Sequence[int]],
    tokens_per_audio_token: float,
    audio_tokens_per_second: float,
) -> list[ModeFigures]:
    """Figures per mode, in the order given; ``vanilla`` must be among the modes.

    Args:
        timings: the repeats of each mode.
        chunk_positions: for each of them the index at which the first chunk is complete.
        tokens_per_audio_token: tokens of all kinds that a reply needs for one of audio.
        audio_tokens_per_second: of speech.
    """
    rates = {
        mode: [len(run.token_ids) / run.arrivals_s[-1] for run in runs] for mode, runs in timings.items()
    }
    vanilla = float(np.median(rates["vanilla"]))
    figures = []
    for mode, runs in timings.items():
        prefill = [1e3 * run.arrivals_s[0] for run in runs]
        chunk = [1e3 * run.arrivals_s[at] for run, at in zip(runs, chunk_positions[mode], strict=True)]
        rate = float(np.median(rates[mode]))
        figures.append(
            ModeFigures(
                mode=mode,
                prefill_ms_p50=_percentile(prefill, 50),
                prefill_ms_p95=_percentile(prefill, 95),
                first_chunk_ms_p50=_percentile(chunk, 50),
                first_chunk_ms_p95=_percentile(chunk, 95),
                tokens_per_second_p50=rate,
                # The slow end: 95 of 100 runs were at least this fast.
                tokens_per_second_p95=_percentile(rates[mode], 5),
                speedup=rate / vanilla,
                real_time_factor=audio_tokens_per_second * tokens_per_audio_token / rate,
            )
        )
    return figures


def latency_markdown(figures: Sequence[ModeFigures]) -> str:
    """A line per mode."""
    lines = [
        "| mode | first chunk p50 / p95 | prefill p50 / p95 | tokens/s p50 / p95 | speed-up | real-time factor |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {mode.mode} | {mode.first_chunk_ms_p50:.1f} / {mode.first_chunk_ms_p95:.1f} ms "
        f"| {mode.prefill_ms_p50:.1f} / {mode.prefill_ms_p95:.1f} ms "
        f"| {mode.tokens_per_second_p50:.0f} / {mode.tokens_per_second_p95:.0f} "
        f"| {mode.speedup:.2f} x | {mode.real_time_factor:.3f} |"
        for mode in figures
    ]
    return "\n".join(lines)


def _percentile(values: Sequence[float], share: float) -> float:
    return float(np.percentile(values, share))
