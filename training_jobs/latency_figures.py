"""Figures of the latency benchmark, from the times taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np

from training_jobs.latency import FirstChunkBasis, Timing


@dataclass(frozen=True)
class NotMeasured:
    """In place of a figure that could not be taken."""

    reason: str


@dataclass(frozen=True)
class Spread:
    """One quantity over the repeats.

    Attributes:
        p50: the median.
        p95: 95 of 100 repeats were at least as good; between few repeats it is interpolated.
        p99: likewise.
        iqr: between the first quartile and the third.
        count: of repeats.
    """

    p50: float
    p95: float
    p99: float
    iqr: float
    count: int


MaybeSpread: TypeAlias = Spread | NotMeasured


@dataclass(frozen=True)
class Times:
    """What was timed for one length of prompt, in seconds.

    Attributes:
        timings: the repeats of each mode.
        basis: how the first chunk was found.
        chunk_positions: for each repeat the index of the token that completes the first chunk.
        encoder_s: the audio tokenizer, for the sound of each repeat's prompt.
        decoder_s: a first chunk to a waveform, for each repeat.
        peak_bytes: of one more generation.
    """

    timings: Mapping[str, Sequence[Timing]]
    basis: FirstChunkBasis
    chunk_positions: Mapping[str, Sequence[int]]
    encoder_s: Sequence[float] | NotMeasured
    decoder_s: Sequence[float] | NotMeasured
    peak_bytes: Mapping[str, int]


@dataclass(frozen=True)
class ModeFigures:
    """One decode mode at one length of prompt.

    Attributes:
        prefill_ms: until the first token is there, which includes reading the prompt.
        first_text_ms: until the first token of text is there.
        first_chunk_ms: until the first eight audio tokens are there.
        first_sound_ms: until these are a waveform: each repeat's first chunk, and the decoding of one.
        tokens_per_second: all new tokens by the whole time, prefill included.
        decode_tokens_per_second: those after the first by the time after it: without prefill.
        audio_seconds_per_second: of speech, at the interleaving's steady state, prefill included.
        peak_memory_mib: as :class:`training_jobs.peak_memory.PeakMemory` has it.
        speedup: of the median tokens per second over Vanilla's.
        decode_speedup: the same without prefill.
        real_time_factor: seconds of decoding per second of speech, prefill included.
    """

    mode: str
    prefill_ms: Spread
    first_text_ms: MaybeSpread
    first_chunk_ms: Spread
    first_sound_ms: MaybeSpread
    tokens_per_second: Spread
    decode_tokens_per_second: Spread
    audio_seconds_per_second: Spread
    peak_memory_mib: float
    speedup: float
    decode_speedup: float
    real_time_factor: float

    def flat(self) -> dict[str, float]:
        """``<figure>_p50``, ``_p95``, ``_p99``, ``_iqr``, or the figure itself; what was not measured is left out."""
        values: dict[str, float] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Spread):
                values |= {f"{field.name}_{name}": figure for name, figure in flat(value).items()}
            elif isinstance(value, float):
                values[field.name] = value
        return values

    def not_measured(self) -> dict[str, str]:
        """Figures that are missing, and why."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value.reason for name, value in values.items() if isinstance(value, NotMeasured)}


@dataclass(frozen=True)
class PromptFigures:
    """Everything about one length of prompt.

    Attributes:
        prompt_tokens: its length.
        audio_seconds: of speech in it.
        prompts: different ones; repeats take them in turn.
        repeats: that count, after ``warmup`` that do not.
        first_chunk_basis: how the first chunk was found in the replies.
        memory: how the peak was found (:class:`training_jobs.peak_memory.PeakMemory`).
        audio_encoder_ms: the audio tokenizer, for the prompt's speech.
        chunk_decoder_ms: a first chunk to a waveform.
        modes: the figures of each.
    """

    prompt_tokens: int
    audio_seconds: float
    prompts: int
    repeats: int
    warmup: int
    first_chunk_basis: FirstChunkBasis
    memory: str
    audio_encoder_ms: MaybeSpread
    chunk_decoder_ms: MaybeSpread
    modes: Sequence[ModeFigures]

    def not_measured(self) -> dict[str, str]:
        """``<figure>`` or ``<mode>/<figure>`` that is missing, and why."""
        own = {"audio_encoder_ms": self.audio_encoder_ms, "chunk_decoder_ms": self.chunk_decoder_ms}
        reasons = {name: value.reason for name, value in own.items() if isinstance(value, NotMeasured)}
        for mode in self.modes:
            reasons |= {f"{mode.mode}/{name}": reason for name, reason in mode.not_measured().items()}
        return reasons

    def record(self) -> dict[str, Any]:
        """As it is written to files; what was not measured stands in ``not_measured`` alone."""
        plain = (
            "prompt_tokens",
            "audio_seconds",
            "prompts",
            "repeats",
            "warmup",
            "first_chunk_basis",
            "memory",
        )
        spreads = {"audio_encoder_ms": self.audio_encoder_ms, "chunk_decoder_ms": self.chunk_decoder_ms}
        return {
            **{name: getattr(self, name) for name in plain},
            **{name: flat(value) for name, value in spreads.items() if isinstance(value, Spread)},
            "modes": {mode.mode: mode.flat() for mode in self.modes},
            "not_measured": self.not_measured(),
        }


def flat(spread: Spread) -> dict[str, float]:
    """Its figures, without the count."""
    return {"p50": spread.p50, "p95": spread.p95, "p99": spread.p99, "iqr": spread.iqr}


def milliseconds(seconds: Sequence[float]) -> Spread:
    """Of times, where less is better."""
    return _spread([1e3 * value for value in seconds], 95, 99)


def per_second(rates: Sequence[float]) -> Spread:
    """Of rates, where more is better."""
    return _spread(rates, 5, 1)


def summarise(times: Times, is_text: Callable[[int], bool], speech_s_per_token: float) -> list[ModeFigures]:
    """Figures per mode, in the order given; ``vanilla`` must be among the modes.

    Args:
        times: as they were taken.
        is_text: whether an id is a token of text.
        speech_s_per_token: seconds of speech that a token of a long reply, whatever its kind, stands for.
    """
    whole = {
        mode: [len(run.token_ids) / run.arrivals_s[-1] for run in runs]
        for mode, runs in times.timings.items()
    }
    after_first = {
        mode: [(len(run.token_ids) - 1) / (run.arrivals_s[-1] - run.arrivals_s[0]) for run in runs]
        for mode, runs in times.timings.items()
    }
    return [
        ModeFigures(
            mode=mode,
            prefill_ms=milliseconds([run.arrivals_s[0] for run in runs]),
            first_text_ms=_first_text(runs, is_text),
            first_chunk_ms=milliseconds(_chunks(times, mode)),
            first_sound_ms=_first_sound(times, mode),
            tokens_per_second=per_second(whole[mode]),
            decode_tokens_per_second=per_second(after_first[mode]),
            audio_seconds_per_second=per_second([speech_s_per_token * rate for rate in whole[mode]]),
            peak_memory_mib=times.peak_bytes[mode] / 2**20,
            speedup=_median(whole[mode]) / _median(whole["vanilla"]),
            decode_speedup=_median(after_first[mode]) / _median(after_first["vanilla"]),
            real_time_factor=1 / (speech_s_per_token * _median(whole[mode])),
        )
        for mode, runs in times.timings.items()
    ]


def _chunks(times: Times, mode: str) -> list[float]:
    places = times.chunk_positions[mode]
    return [run.arrivals_s[at] for run, at in zip(times.timings[mode], places, strict=True)]


def _first_text(runs: Sequence[Timing], is_text: Callable[[int], bool]) -> MaybeSpread:
    arrivals = [
        next((at for token, at in zip(run.token_ids, run.arrivals_s, strict=True) if is_text(token)), None)
        for run in runs
    ]
    found = [at for at in arrivals if at is not None]
    if len(found) < len(runs):
        return NotMeasured(f"{len(runs) - len(found)} of {len(runs)} replies have no token of text")
    return milliseconds(found)


def _first_sound(times: Times, mode: str) -> MaybeSpread:
    if isinstance(times.decoder_s, NotMeasured):
        return times.decoder_s
    both = zip(_chunks(times, mode), times.decoder_s, strict=True)
    return milliseconds([chunk + decoded for chunk, decoded in both])


def _spread(values: Sequence[float], late: float, latest: float) -> Spread:
    p25, p50, p75, p95, p99 = (float(value) for value in np.percentile(values, [25, 50, 75, late, latest]))
    return Spread(p50, p95, p99, p75 - p25, len(values))


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
