"""Decoding by libsndfile, which knows most containers of speech corpora and is the quickest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import IO

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from assets.audio.decoder import DecodeError
from assets.audio.raw_format import ENCODINGS, RawFormat

_UNKNOWN_FRAMES = (1 << 63) - 1  # libsndfile's SF_COUNT_MAX: a FLAC written to a pipe
_UNRECOGNISED_FORMAT, _UNSUPPORTED_ENCODING = 1, 4
_EXACT_FORMATS = ("WAV", "WAVEX", "RF64", "AIFF", "AU", "CAF", "NIST", "RAW", "FLAC", "W64")
_EXACT_SUBTYPES = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")


class UnsupportedError(Exception):
    """A recording of a kind that libsndfile does not know; another decoder may."""


class _Forwards(sf.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file that is not positioned anew after each block, as soundfile does: an MP3 then decodes differently."""

    def seekable(self) -> bool:
        return False


class SoundFileDecoder:
    """A :class:`assets.audio.decoder.Decoder` over a sound file."""

    stated_s: float | None = None

    def __init__(self, opened: Callable[[], sf.SoundFile]) -> None:
        self._opened = opened
        self._sound = sound = opened()
        self._has_failed = False
        self.rate_hz = int(sound.samplerate)
        self.channels = int(sound.channels)
        self.frames: int | None = None if sound.frames == _UNKNOWN_FRAMES else int(sound.frames)
        self.format = f"{sound.format}/{sound.subtype}"
        self.seeks_exactly = (
            self.frames is not None and sound.format in _EXACT_FORMATS and sound.subtype in _EXACT_SUBTYPES
        )

    def read(self, count: int) -> NDArray[np.float32]:
        """See :class:`assets.audio.decoder.Decoder`."""
        try:
            samples_NC: NDArray[np.float32] = self._sound.read(count, dtype="float32", always_2d=True)
        except sf.LibsndfileError as error:
            self._has_failed = True
            # The error's own words; its prefix names a Python object at some address.
            raise DecodeError(f"does not decode: {error.error_string}") from error
        return samples_NC

    def seek(self, frame: int) -> None:
        """See :class:`assets.audio.decoder.Decoder`."""
        try:
            if self._has_failed:  # libsndfile does not get over an error by itself
                self.close()
                self._sound = self._opened()
                self._has_failed = False
            self._sound.seek(frame)
        except sf.LibsndfileError as error:
            self._has_failed = True
            raise DecodeError(f"does not decode: {error.error_string}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._sound.close()


@contextmanager
def opened_by_libsndfile(stream: IO[bytes], raw: RawFormat | None = None) -> Iterator[SoundFileDecoder]:
    """Open a recording.

    Args:
        raw: What the samples are where there is no header.

    Raises:
        UnsupportedError: if libsndfile does not know its kind.
        DecodeError: if it is damaged.
    """

    def opened() -> sf.SoundFile:
        stream.seek(0)
        if raw is None:
            return _Forwards(stream)
        subtype, endian, _ = ENCODINGS[raw.encoding]
        return _Forwards(stream, "r", raw.rate_hz, raw.channels, subtype=subtype, endian=endian, format="RAW")

    try:
        decoder = SoundFileDecoder(opened)
    except sf.LibsndfileError as error:
        if error.code in (_UNRECOGNISED_FORMAT, _UNSUPPORTED_ENCODING):
            raise UnsupportedError(error.error_string) from error
        raise DecodeError(error.error_string) from error
    with closing(decoder):
        yield decoder
