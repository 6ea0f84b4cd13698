"""Audio files to mono float32 waveforms at their own rate, with every fault named.

Shapes: N samples, C channels.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from assets.audio.containers import SUFFIXES, Container, shortfall, sniff
from assets.audio.flac import flac_shortfall
from assets.audio.headers import Shortfall
from assets.audio.problem import AudioFaultError, AudioProblem
from validation.measures import Waveform

if TYPE_CHECKING:
    from validation.ledger import Reason

# Rates outside this range come from a damaged header; resampling from them would take any amount of memory or time.
# What is allowed for training is a threshold, and narrower.
LOWEST_RATE_HZ = 2_000
HIGHEST_RATE_HZ = 384_000
LONGEST_S = 3_600.0  # of one utterance
MOST_SAMPLES = 1 << 28  # of one utterance, over all channels: 1 GiB decoded, what a worker may take
_UNKNOWN_FRAMES = (1 << 63) - 1  # libsndfile's SF_COUNT_MAX: a FLAC written to a pipe
CANCELLATION_DB = 20.0
_SILENCE_DB = 120.0


@dataclass(frozen=True, slots=True)
class Segment:
    """Part of a file, in seconds; ``end_s`` ``None`` is the file's end."""

    start_s: float = 0.0
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """A mono waveform, shape (N,), full scale 1, and what its file was."""

    samples_N: Waveform
    rate_hz: int
    channels: int
    format: str


class AudioSource:
    """An opened audio file whose container has been found whole.

    Raises:
        AudioFaultError: from :meth:`segment`, and on opening through :func:`open_source`.
    """

    def __init__(self, sound: sf.SoundFile, data: bytes, container: Container) -> None:
        self._sound = sound
        self._data = data
        self._container: Container = container

    def segment(self, segment: Segment) -> Decoded:
        """Decode one segment and mix its channels down to their mean.

        The mean keeps what all channels share. Where the channels cancel each other (anti-phase), it would be a
        silence that nobody recorded: that is a fault, not a mix.
        """
        rate_hz = int(self._sound.samplerate)
        first, count = self._frames_of(segment, rate_hz)
        try:
            if first != self._sound.tell():  # a file read as a whole need not be seekable
                self._sound.seek(first)
            samples_NC = self._sound.read(count, dtype="float32", always_2d=True)
        except sf.LibsndfileError as error:
            raise _decode_fault(
                self._data, self._container, f"does not decode: {error.error_string}"
            ) from error
        # An MP3 states a few hundred samples too many at its end; whether it is whole, its frames have said.
        if samples_NC.shape[0] < count and self._container != "mp3":
            detail = f"decodes to {samples_NC.shape[0]} of the {count} samples that it promises"
            raise _decode_fault(self._data, self._container, detail)
        if not samples_NC.shape[0]:
            raise _fault("no_frames", "holds no samples", 0.0, 1.0)
        mono_N = _mix(samples_NC)
        return Decoded(
            mono_N, rate_hz, int(samples_NC.shape[1]), f"{self._sound.format}/{self._sound.subtype}"
        )

    def _frames_of(self, segment: Segment, rate_hz: int) -> tuple[int, int]:
        duration_s = self._sound.frames / rate_hz
        end_s = duration_s if segment.end_s is None else segment.end_s
        # One sample of tolerance: ends are written with few decimals.
        if not 0 <= segment.start_s < end_s <= duration_s + 1 / rate_hz:
            detail = (
                f"segment {segment.start_s:.3f}-{end_s:.3f} s does not lie in the file's {duration_s:.3f} s"
            )
            raise _fault("bad_segment", detail, end_s, duration_s)
        length_s = end_s - segment.start_s
        if length_s > LONGEST_S:
            detail = f"{length_s:.0f} s is above the limit of {LONGEST_S:.0f} s"
            raise _fault("too_long", detail, length_s, LONGEST_S)
        first = round(segment.start_s * rate_hz)
        count = min(round(end_s * rate_hz), int(self._sound.frames)) - first
        samples = count * int(self._sound.channels)
        if samples > MOST_SAMPLES:
            detail = (
                f"{length_s:.0f} s of {self._sound.channels} channels at {rate_hz} Hz are {samples} samples, above "
                f"the limit of {MOST_SAMPLES}"
            )
            raise _fault("too_long", detail, float(samples), float(MOST_SAMPLES))
        return first, count


@contextmanager
def open_source(data: bytes, name: str) -> Iterator[AudioSource]:
    """Open an audio file given as bytes, after asking its container what it promises.

    Args:
        name: For its extension, which must not contradict the content.

    Raises:
        AudioFaultError: with the reason ``empty_file``, ``not_audio``, ``decode_error``, ``no_frames``,
            ``sample_rate``, ``wrong_extension`` or ``truncated``.
    """
    if not data:
        raise _fault("empty_file", "has 0 bytes", 0.0, 1.0)
    container = sniff(data)
    if container is None:
        raise _fault("not_audio", f"is not audio of a known kind: it begins with {data[:24]!r}")
    _refuse_truncated(shortfall(data, container))
    try:
        sound = sf.SoundFile(io.BytesIO(data))
    except sf.LibsndfileError as error:
        # The error's own words; its prefix names a Python object at some address.
        detail = f"does not open as {container}: {error.error_string}"
        raise _decode_fault(data, container, detail) from error
    with sound:
        if sound.frames <= 0:
            raise _fault("no_frames", f"has a {container} header and no samples", 0.0, 1.0)
        if sound.frames == _UNKNOWN_FRAMES:
            raise _fault("decode_error", f"has a {container} header that does not say how long it is")
        if not LOWEST_RATE_HZ <= sound.samplerate <= HIGHEST_RATE_HZ:
            limit = LOWEST_RATE_HZ if sound.samplerate < LOWEST_RATE_HZ else HIGHEST_RATE_HZ
            detail = f"states {sound.samplerate} Hz; possible are {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz"
            raise _fault("sample_rate", detail, float(sound.samplerate), float(limit))
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in SUFFIXES and SUFFIXES[suffix] != container:
            raise _fault("wrong_extension", f"is named {suffix} but holds {container}")
        yield AudioSource(sound, data, container)


def _mix(samples_NC: NDArray[np.float32]) -> Waveform:
    if samples_NC.shape[1] == 1:
        return np.ascontiguousarray(samples_NC[:, 0])
    mono_N: Waveform = samples_NC.mean(axis=1, dtype=np.float32)
    loudest = float(np.max(np.einsum("nc,nc->c", samples_NC, samples_NC)))
    mixed = float(np.dot(mono_N, mono_N))
    if loudest > 0.0:  # false for NaN as well, which the measures count
        loss_db = 10.0 * np.log10(loudest / mixed) if mixed > 0.0 else _SILENCE_DB
        if loss_db > CANCELLATION_DB:
            detail = (
                f"its {samples_NC.shape[1]} channels cancel each other: mixed they lose {loss_db:.0f} dB, "
                f"above the limit of {CANCELLATION_DB:.0f} dB"
            )
            raise _fault("channels_cancel", detail, float(loss_db), CANCELLATION_DB)
    return mono_N


def _refuse_truncated(missing: Shortfall | None) -> None:
    # With nothing at all there is no recording to have been cut: a header alone says so when it is opened.
    if missing is not None and missing[0]:
        found, promised, unit = missing
        raise _fault(
            "truncated", f"promises {promised} {unit} and has {found}", float(found), float(promised)
        )


def _decode_fault(data: bytes, container: Container, detail: str) -> AudioFaultError:
    """Why it does not decode: a FLAC because it was cut, where its last frame says so."""
    if container == "flac":
        _refuse_truncated(flac_shortfall(data))
    return _fault("decode_error", detail)


def _fault(
    reason: Reason, detail: str, value: float | None = None, limit: float | None = None
) -> AudioFaultError:
    return AudioFaultError(AudioProblem(reason, detail, value, limit))
