"""A recording of any length cut into pieces at its pauses, while it is decoded once and little of it is held.

Shapes: N samples, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import soxr
from numpy.typing import NDArray

from assets.audio.channels import CANCELLATION_DB, cancelled_db
from assets.audio.pauses import FRAME_S, Cutter, Piece, Speech, SpeechFinder
from assets.audio.problem import AudioFaultError, AudioProblem, fault
from assets.audio.segments import MOST_SAMPLES, AudioSource, Decoded, Segment
from assets.audio.settings import ChannelPolicy, Segmentation
from validation.listening.config import LISTENING_RATE_HZ
from validation.listening.voice_activity import SpeechStream
from validation.measures import Waveform, without_nonfinite

_BLOCK_S = 1.0
# What may be held of a recording, in lengths of the longest piece: see assets.audio.pauses.
_HELD_PIECES = 6


@dataclass(slots=True)
class Heard:
    """What is known of a recording once it has been cut.

    Attributes:
        duration_s: Up to where it decodes.
        speech_s: What the model takes for speech, over all channels that were heard.
        problem: Why it was not heard to its end.
    """

    duration_s: float = 0.0
    channels: int = 0
    lanes: int = 0
    speech_s: float = 0.0
    problem: AudioProblem | None = None


@dataclass(frozen=True, slots=True)
class CutPiece:
    """One piece, and its samples or what is wrong with them."""

    segment: Segment
    in_speech: bool
    found: Decoded | AudioProblem


def cut_at_pauses(
    source: AudioSource, settings: Segmentation, policy: ChannelPolicy, heard: Heard
) -> Iterator[CutPiece]:
    """The pieces of a recording in the order in which they end, each channel for itself where it is split.

    Where it does not decode to its end, it is cut as far as it does, and ``heard.problem`` says what is wrong.

    Args:
        heard: Filled in on the way.
    """
    heard.channels = source.channels
    is_split = policy == "split" and source.channels > 1
    lanes = [_Lane(settings, source.rate_hz, n) for n in range(source.channels if is_split else 1)]
    heard.lanes = len(lanes)
    held = _Held(source.channels)
    try:
        _refuse_what_is_too_wide(source, settings)
        for block_NC in source.blocks(_BLOCK_S):
            held.append(block_NC)
            for lane in lanes:
                heard_N = block_NC[:, lane.number] if is_split else _loud_mixture(block_NC, policy)
                for piece in lane.feed(heard_N):
                    yield _cut(source, held, piece, lane.number if is_split else None)
            held.drop_before(int(min(lane.needed_from_s for lane in lanes) * source.rate_hz))
    except AudioFaultError as error:
        heard.problem = error.problem
    heard.duration_s = held.end / source.rate_hz
    for lane in lanes:
        for piece in lane.finish(heard.duration_s, heard.problem is None):
            yield _cut(source, held, piece, lane.number if is_split else None)
    heard.speech_s = sum(lane.speech_s for lane in lanes)


class _Lane:
    """One channel, or the mixture of all: from samples to pieces."""

    def __init__(self, settings: Segmentation, rate_hz: int, number: int) -> None:
        self.number = number
        self._reach_s = max(settings.min_s, settings.margin_s) + FRAME_S
        self._to_16k = soxr.ResampleStream(rate_hz, LISTENING_RATE_HZ, 1, dtype="float32", quality="HQ")
        self._is_16k = rate_hz == LISTENING_RATE_HZ
        self._stream = SpeechStream(number)
        self._finder = SpeechFinder(settings)
        self._cutter = Cutter(settings)

    @property
    def speech_s(self) -> float:
        return self._finder.speech_s

    @property
    def needed_from_s(self) -> float:
        """No piece that is still to come begins before."""
        places = (self._cutter.open_since_s, self._finder.open_since_s, self._finder.heard_s)
        return max(min(place for place in places if place is not None) - self._reach_s, 0.0)

    def feed(self, samples_N: Waveform) -> list[Piece]:
        finite_N, _ = without_nonfinite(np.ascontiguousarray(samples_N))
        heard_N = finite_N if self._is_16k else self._to_16k.resample_chunk(finite_N)
        return self._cut(*self._stream.feed(heard_N))

    def finish(self, end_s: float, is_whole: bool) -> list[Piece]:
        rest_N = np.empty(0, dtype=np.float32)
        if not self._is_16k:
            rest_N = self._to_16k.resample_chunk(rest_N, last=True)
        done = self._cut(*self._stream.feed(rest_N))
        done += self._cut(*self._stream.finish())
        return [*done, *self._add(self._finder.finish(is_whole)), *self._cutter.finish(end_s)]

    def _cut(self, probability_F: NDArray[np.float32], power_F: NDArray[np.float32]) -> list[Piece]:
        done = self._add(self._finder.feed(probability_F.tolist(), power_F.tolist()))
        open_since_s = self._finder.open_since_s
        return done + self._cutter.wait(self._finder.heard_s if open_since_s is None else open_since_s)

    def _add(self, found: list[Speech]) -> list[Piece]:
        return [piece for speech in found for piece in self._cutter.add(speech)]


@dataclass(slots=True)
class _Held:
    """The samples that pieces may still need."""

    channels: int
    start: int = 0
    end: int = 0
    blocks: list[NDArray[np.float32]] = field(default_factory=list)

    def append(self, block_NC: NDArray[np.float32]) -> None:
        self.blocks.append(block_NC)
        self.end += block_NC.shape[0]

    def drop_before(self, frame: int) -> None:
        while self.blocks and self.start + self.blocks[0].shape[0] <= frame:
            self.start += self.blocks.pop(0).shape[0]

    def part(self, first: int, end: int) -> NDArray[np.float32]:
        assert self.start <= first < end <= self.end, (self.start, first, end, self.end)
        found, place = [], self.start
        for block_NC in self.blocks:
            if place < end and place + block_NC.shape[0] > first:
                found.append(block_NC[max(first - place, 0) : end - place])
            place += block_NC.shape[0]
        return np.concatenate(found)


def _cut(source: AudioSource, held: _Held, piece: Piece, lane: int | None) -> CutPiece:
    # Times that lead back to these very samples, when the piece is cut again by itself.
    first = max(round(piece.start_s * source.rate_hz), 0)
    end = min(round(piece.end_s * source.rate_hz), held.end)
    channel = None if lane is None else lane + 1
    segment = Segment(first / source.rate_hz, end / source.rate_hz, channel)
    try:
        return CutPiece(segment, piece.in_speech, source.decoded(held.part(first, end), channel))
    except AudioFaultError as error:
        return CutPiece(segment, piece.in_speech, error.problem)


def _loud_mixture(block_NC: NDArray[np.float32], policy: ChannelPolicy) -> Waveform:
    """What is listened to for speech: the first channel, or all; the loudest where the others would cancel it."""
    if block_NC.shape[1] == 1 or policy == "first":
        return block_NC[:, 0]
    mono_N: Waveform = block_NC.mean(axis=1, dtype=np.float32)
    if cancelled_db(block_NC, mono_N) <= CANCELLATION_DB:
        return mono_N
    return block_NC[:, int(np.argmax(np.einsum("nc,nc->c", block_NC, block_NC)))]


def _refuse_what_is_too_wide(source: AudioSource, settings: Segmentation) -> None:
    most = int(_HELD_PIECES * settings.max_s * source.rate_hz) * source.channels
    if most > MOST_SAMPLES:
        detail = (
            f"{_HELD_PIECES * settings.max_s:.0f} s of {source.channels} channels at {source.rate_hz} Hz, which "
            f"cutting may hold, are {most} samples, above the limit of {MOST_SAMPLES}"
        )
        raise fault("too_long", detail, float(most), float(MOST_SAMPLES))
