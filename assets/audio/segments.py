"""Segments of a recording, cut while it is decoded once, each a mono float32 waveform at the recording's own rate.

Shapes: N samples, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assets.audio.channels import to_mono
from assets.audio.containers import Container
from assets.audio.decoder import DecodeError, Decoder
from assets.audio.flac import flac_shortfall
from assets.audio.problem import AudioFaultError, AudioProblem, fault, truncated
from assets.audio.settings import ChannelPolicy
from assets.audio.source_file import SourceFile
from validation.measures import Waveform
from validation.signal.channels import ChannelMeasures

LONGEST_S = 3_600.0  # of one utterance
MOST_SAMPLES = 1 << 28  # of one utterance, over all channels: 1 GiB decoded, what a worker may take
SEGMENT_SLACK_S = 0.01  # beyond the end: corpora write ends with two decimals, and round them up
STATED_SLACK_S = 0.1  # encoders pad, and headers round to their frames
MP3_SLACK = 4 * 1152  # samples: an MP3 states the encoder's padding too, in whole frames
_SKIPPED_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Segment:
    """Part of a file, in seconds; ``end_s`` ``None`` is the file's end, ``channel`` one of them, from 1."""

    start_s: float = 0.0
    end_s: float | None = None
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """A mono waveform, shape (N,), full scale 1, and what its file was; ``channels_used`` from 1."""

    samples_N: Waveform
    rate_hz: int
    channels: int
    format: str
    channel_measures: ChannelMeasures
    channels_used: tuple[int, ...]


class AudioSource:
    """An opened recording whose container has been found whole; it is read once, forwards."""

    def __init__(
        self, decoder: Decoder, file: SourceFile, container: Container, policy: ChannelPolicy = "mix"
    ) -> None:
        self._decoder = decoder
        self._policy: ChannelPolicy = policy
        self._file = file
        self._container: Container = container
        # What of the samples decoded so far a later segment may share, and where it begins.
        self._kept_NC = np.empty((0, decoder.channels), dtype=np.float32)
        self._kept_from = 0
        self._total = decoder.frames  # samples; where none are stated, known once the end has been reached
        self._broken: AudioProblem | None = None

    @property
    def rate_hz(self) -> int:
        """Samples per second."""
        return self._decoder.rate_hz

    @property
    def channels(self) -> int:
        """How many there are."""
        return self._decoder.channels

    def cut(self, segments: Sequence[Segment]) -> Iterator[tuple[int, Decoded | AudioProblem]]:
        """Each segment with its index, in the order of their starts, or why there is none.

        The recording is decoded once, however many segments there are and however they overlap; no more of it is held
        than the longest of them. A segment has the same samples whichever others are asked for with it.
        """
        for index in sorted(range(len(segments)), key=lambda index: segments[index].start_s):
            try:
                yield index, self._cut(segments[index])
            except AudioFaultError as error:
                yield index, error.problem

    def _cut(self, segment: Segment) -> Decoded:
        first, count = self._frames_of(segment)
        try:
            self._advance(first, segment)
            samples_NC = self._take(count, segment)
        except DecodeError as error:
            raise self._broken_off(str(error)) from error
        return self.decoded(samples_NC, segment.channel)

    def decoded(self, samples_NC: NDArray[np.float32], channel: int | None = None) -> Decoded:
        """What is kept of these samples of all channels.

        Raises:
            AudioFaultError: from :func:`assets.audio.channels.to_mono`.
        """
        decoder = self._decoder
        mono = to_mono(samples_NC, decoder.rate_hz, self._policy, channel)
        return Decoded(
            mono.samples_N, decoder.rate_hz, decoder.channels, decoder.format, mono.measures, mono.used
        )

    def blocks(self, seconds: float) -> Iterator[NDArray[np.float32]]:
        """All of the recording, of any length, so many seconds at a time.

        Raises:
            AudioFaultError: where it does not decode, or ends before it should, after what comes before that.
        """
        count, found = max(round(seconds * self._decoder.rate_hz), 1), 0
        while True:
            try:
                block_NC = self._decoder.read(count)
            except DecodeError as error:
                raise self._broken_off(str(error)) from error
            found += block_NC.shape[0]
            if block_NC.shape[0]:
                yield block_NC
            if block_NC.shape[0] < count:
                self._check_end(found)
                return

    def _frames_of(self, segment: Segment) -> tuple[int, int | None]:
        """First sample and count; the count is ``None`` up to an end that is not known yet."""
        rate_hz, total = self._decoder.rate_hz, self._total
        start_s, end_s = segment.start_s, segment.end_s
        if not (start_s >= 0 and (end_s is None or start_s < end_s)):  # not-a-number compares false
            raise fault("bad_segment", f"segment {_span(segment)} is empty or reversed", end_s, start_s)
        if self._broken is not None:
            raise AudioFaultError(self._broken)
        first = round(start_s * rate_hz)
        if total is not None and (first >= total or self._is_beyond(end_s, total)):
            raise self._outside(segment, total)
        if end_s is None and total is None:
            return first, None
        last = total if end_s is None else round(end_s * rate_hz)
        assert last is not None
        count = max(last if total is None else min(last, total), first + 1) - first
        if count > self._most_samples:
            raise self._too_long(count)
        return first, count

    def _advance(self, first: int, segment: Segment) -> None:
        """Make ``first`` the beginning of what is kept."""
        position = self._kept_from + self._kept_NC.shape[0]
        if self._kept_from <= first < position:
            self._kept_NC = self._kept_NC[first - self._kept_from :]
            self._kept_from = first
            return
        self._kept_from, self._kept_NC = position, self._kept_NC[:0]
        if first != position and self._decoder.seeks_exactly:
            self._decoder.seek(first)
            self._kept_from = first
        assert first >= self._kept_from, "segments are cut in the order of their starts"
        while (left := first - self._kept_from) > 0:
            wanted = min(left, _SKIPPED_BLOCK)
            skipped = self._decoder.read(wanted).shape[0]
            self._kept_from += skipped
            if skipped < wanted:
                self._reach_end(self._kept_from)
                raise self._outside(segment, self._kept_from)

    def _take(self, count: int | None, segment: Segment) -> NDArray[np.float32]:
        """The next ``count`` samples, or all that are left."""
        wanted = self._most_samples + 1 if count is None else count
        missing = wanted - self._kept_NC.shape[0]
        if missing > 0:
            read_NC = self._decoder.read(missing)
            self._kept_NC = np.concatenate((self._kept_NC, read_NC)) if self._kept_NC.size else read_NC
            if read_NC.shape[0] < missing:
                self._refuse_early_end(segment)
            elif count is None:
                raise self._too_long(wanted)
        return self._kept_NC[:wanted]

    def _refuse_early_end(self, segment: Segment) -> None:
        """The recording ended before the segment did: whether that is in order."""
        found = self._kept_from + self._kept_NC.shape[0]
        self._check_end(found)
        is_known = self._decoder.frames is not None
        if found <= self._kept_from or (not is_known and self._is_beyond(segment.end_s, found)):
            raise self._outside(segment, found)

    def _check_end(self, found: int) -> None:
        stated = self._decoder.frames
        slack = MP3_SLACK if "MPEG" in self._decoder.format else 0
        if stated is not None and found < stated - slack:
            raise self._broken_off(f"decodes to {found} of the {stated} samples that it promises")
        self._reach_end(found)
        if not found:
            raise fault("no_frames", "holds no samples", 0.0, 1.0)

    def _reach_end(self, total: int) -> None:
        """Compare the number of samples, now that it is known, with what the header says."""
        self._total = total
        stated_s, found_s = self._decoder.stated_s, total / self._decoder.rate_hz
        if stated_s is not None and found_s < stated_s - STATED_SLACK_S:
            detail = f"states {stated_s:.2f} s and decodes to {found_s:.2f} s"
            self._broken = AudioProblem("truncated", detail, found_s, stated_s)
            raise AudioFaultError(self._broken)

    def _broken_off(self, detail: str) -> AudioFaultError:
        """It does not decode from here on; what can be positioned may again, further on."""
        error = decode_fault(self._file, self._container, detail)
        if not self._decoder.seeks_exactly:
            self._broken = error.problem
        self._kept_from, self._kept_NC = -1, self._kept_NC[:0]
        return error

    def _is_beyond(self, end_s: float | None, total: int) -> bool:
        rate_hz = self._decoder.rate_hz
        return end_s is not None and round(end_s * rate_hz) > total + max(1, int(SEGMENT_SLACK_S * rate_hz))

    @property
    def _most_samples(self) -> int:
        return min(int(LONGEST_S * self._decoder.rate_hz), MOST_SAMPLES // self._decoder.channels)

    def _too_long(self, count: int) -> AudioFaultError:
        rate_hz, channels = self._decoder.rate_hz, self._decoder.channels
        length_s = count / rate_hz
        if length_s > LONGEST_S:
            detail = f"{length_s:.0f} s is above the limit of {LONGEST_S:.0f} s"
            return fault("too_long", detail, length_s, LONGEST_S)
        detail = (
            f"{length_s:.0f} s of {channels} channels at {rate_hz} Hz are {count * channels} samples, above the "
            f"limit of {MOST_SAMPLES}"
        )
        return fault("too_long", detail, float(count * channels), float(MOST_SAMPLES))

    def _outside(self, segment: Segment, total: int) -> AudioFaultError:
        duration_s = total / self._decoder.rate_hz
        detail = f"segment {_span(segment)} does not lie in the file's {duration_s:.3f} s"
        value = segment.start_s if segment.end_s is None else segment.end_s
        return fault("bad_segment", detail, value, duration_s)


def decode_fault(file: SourceFile, container: Container, detail: str) -> AudioFaultError:
    """Why it does not decode: a FLAC because it was cut, where its last frame says so."""
    cut_short = truncated(flac_shortfall(file.data)) if container == "flac" else None
    return cut_short or fault("decode_error", detail)


def _span(segment: Segment) -> str:
    end = "its end" if segment.end_s is None else f"{segment.end_s:.3f} s"
    return f"{segment.start_s:.3f} s to {end}"
