"""Recordings with less than they promise, or under a name that is not theirs, decoded all the same.

By what they hold, not by their name, and up to where their samples end. Whoever judges one is told how much of it there
is, and whoever accepts it gets just that.

Shapes: N samples, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from assets.audio.containers import Container, named_container, sniff
from assets.audio.decode import missing_of, name_fault, open_source, opened_decoder
from assets.audio.decoder import DecodeError, Decoder
from assets.audio.headers import Shortfall
from assets.audio.problem import AudioFaultError, AudioProblem
from assets.audio.raw_format import RawFormat
from assets.audio.segments import (
    MP3_SLACK,
    STATED_SLACK_S,
    AudioSource,
    Decoded,
    Segment,
    decode_fault,
)
from assets.audio.settings import ChannelPolicy
from assets.audio.source_file import SourceFile
from validation.reasons import ACCEPTED_AS_IT_IS, Reason

# Samples at once: what a decoder has of a block in which it fails is lost, a hundredth of a second. Where a failure is
# no end, nothing is lost by reading more.
_BLOCK, _WHOLE_BLOCK = 128, 1 << 14
_TOGETHER = 256  # blocks: an hour of small arrays would take more than their samples do
# Units in which the share that is there is that of the sound.
_PROPORTIONAL = ("bytes of samples", "MPEG frames")


@dataclass(frozen=True, slots=True)
class Forgiven:
    """What there is of a segment with a fault that a person accepted.

    Attributes:
        fault: What is wrong with the recording.
        promised_s: What it promises of the segment, in seconds; ``None`` where it does not say.
    """

    decoded: Decoded
    fault: str
    promised_s: float | None


Found = Decoded | Forgiven | AudioProblem


def cut_recording(
    file: SourceFile,
    name: str,
    raw: RawFormat | None,
    policy: ChannelPolicy,
    segments: Sequence[Segment],
    despite: Reason | None = None,
) -> Iterator[tuple[int, Found]]:
    """Each segment with its index, or why there is none.

    A recording that is cut short or misnamed is decoded once more, as far as it goes. Segments of which nothing is
    there end for that; of the others the fault says how much is there.

    Args:
        despite: The fault that a person accepted: a segment with just that is given as it is.
    """
    doubtful: dict[int, AudioProblem] = {}
    try:
        with open_source(file, name, raw, policy) as source:
            for index, found in source.cut(segments):
                if isinstance(found, AudioProblem) and found.reason in ACCEPTED_AS_IT_IS:
                    doubtful[index] = found
                else:
                    yield index, found
    except AudioFaultError as error:
        if error.problem.reason not in ACCEPTED_AS_IT_IS:
            yield from ((index, error.problem) for index in range(len(segments)))
            return
        doubtful = dict.fromkeys(range(len(segments)), error.problem)
    if doubtful:
        wanted = sorted(doubtful)
        for place, left in _remains(file, name, raw, policy, [segments[index] for index in wanted]):
            yield wanted[place], _judged(doubtful[wanted[place]], left, despite)


def _remains(
    file: SourceFile, name: str, raw: RawFormat | None, policy: ChannelPolicy, segments: Sequence[Segment]
) -> Iterator[tuple[int, Forgiven | AudioProblem]]:
    """What there is of each segment; the ``fault`` of each is its name's, where it has one."""
    if raw is not None and named_container(file.data) is not None:
        raw = None
    container = sniff(file.data) if raw is None else "raw"
    assert container is not None, "it has been opened before"
    misnamed = name_fault(name, container, raw)
    told = "" if misnamed is None else misnamed.problem.detail
    try:
        with _opened(file, container, raw, policy) as source:
            for index, found in source.cut(segments):
                if isinstance(found, Decoded):
                    yield index, Forgiven(found, told, source.promised_s(segments[index]))
                else:
                    yield index, found
    except AudioFaultError as error:
        yield from ((index, error.problem) for index in range(len(segments)))


def _judged(problem: AudioProblem, found: Forgiven | AudioProblem, despite: Reason | None) -> Found:
    if isinstance(found, AudioProblem):
        words = problem.detail if found.detail in problem.detail else f"{problem.detail}; {found.detail}"
        # Of what does not even open nothing is there to be accepted.
        reason = "decode_error" if found.reason in ACCEPTED_AS_IT_IS else found.reason
        return AudioProblem(reason, words, found.value, found.limit)
    detail = problem.detail
    if found.fault and found.fault not in detail:
        detail += f"; {found.fault}"
    seconds = found.decoded.samples_N.shape[0] / found.decoded.rate_hz
    promised = "" if found.promised_s is None else f" of {found.promised_s:.3f} s"
    detail += f"; {seconds:.3f} s{promised} are there"
    if problem.reason == despite:
        return Forgiven(found.decoded, detail, found.promised_s)
    return AudioProblem(problem.reason, detail, problem.value, problem.limit)


@contextmanager
def _opened(
    file: SourceFile, container: Container, raw: RawFormat | None, policy: ChannelPolicy
) -> Iterator[_Remains]:
    missing = missing_of(file, container, raw)
    with opened_decoder(file, container, raw) as decoder:
        yield _Remains(_UpToItsEnd(decoder, file, container, missing), file, container, policy)


class _Remains(AudioSource):
    """A recording of which segments are given as far as they go."""

    def __init__(
        self, decoder: _UpToItsEnd, file: SourceFile, container: Container, policy: ChannelPolicy
    ) -> None:
        super().__init__(decoder, file, container, policy)
        self._end = decoder

    def promised_s(self, segment: Segment) -> float | None:
        """What the recording promises of a segment that has just been given, in seconds."""
        if segment.end_s is not None:
            return segment.end_s - segment.start_s
        whole_s = self._end.promised_s
        return None if whole_s is None else whole_s - segment.start_s

    def _is_beyond(self, end_s: float | None, total: int) -> bool:
        return False


class _UpToItsEnd:
    """A :class:`assets.audio.decoder.Decoder` that ends where the samples do, and promises nothing."""

    frames: int | None = None
    stated_s: float | None = None
    seeks_exactly = False

    def __init__(
        self, decoder: Decoder, file: SourceFile, container: Container, missing: Shortfall | None
    ) -> None:
        self._decoder = decoder
        self._file = file
        self._container: Container = container
        self._missing = missing
        self._left_NC = np.empty((0, decoder.channels), dtype=np.float32)
        self._found = 0
        self._has_ended = False
        may_end_early = missing is not None or container == "flac"
        self._wanted = _BLOCK if may_end_early else _WHOLE_BLOCK
        self.rate_hz = decoder.rate_hz
        self.channels = decoder.channels
        self.format = decoder.format

    def read(self, count: int) -> NDArray[np.float32]:
        """See :class:`assets.audio.decoder.Decoder`. Blocks are the same whatever is asked for, and so the end is."""
        blocks, ready = [self._left_NC], self._left_NC.shape[0]
        while ready < count and not self._has_ended:
            blocks.append(np.concatenate(list(islice(self._blocks(), _TOGETHER))))
            ready += blocks[-1].shape[0]
        samples_NC = np.concatenate(blocks)
        self._left_NC = samples_NC[count:]
        return samples_NC[:count]

    def seek(self, frame: int) -> None:
        """Not possible."""
        raise NotImplementedError

    @property
    def promised_s(self) -> float | None:
        """How long the recording says that it is; ``None`` where it does not. Known once it has been read."""
        found_s = self._found / self.rate_hz
        frames, stated_s = self._decoder.frames, self._decoder.stated_s
        if frames is not None and frames > self._found + (MP3_SLACK if "MPEG" in self.format else 0):
            return frames / self.rate_hz
        if stated_s is not None and stated_s > found_s + STATED_SLACK_S:
            return stated_s
        if self._missing is None or not self._missing[0] or self._missing[2] not in _PROPORTIONAL:
            return None
        return found_s * self._missing[1] / self._missing[0]

    def _blocks(self) -> Iterator[NDArray[np.float32]]:
        """At least one."""
        yield self._block()
        while not self._has_ended:
            yield self._block()

    def _block(self) -> NDArray[np.float32]:
        try:
            block_NC = self._decoder.read(self._wanted)
        except DecodeError:
            # What is damaged rather than cut short has no end that could be told from the damage.
            if (
                self._missing is None
                and decode_fault(self._file, self._container, "").problem.reason != "truncated"
            ):
                raise
            self._has_ended = True
            return np.empty((0, self.channels), dtype=np.float32)
        self._found += block_NC.shape[0]
        self._has_ended = block_NC.shape[0] < self._wanted
        return block_NC
