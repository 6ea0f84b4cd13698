"""Opening recordings: what each is by its content, and whether all that it promises is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath

from assets.audio.containers import SUFFIXES, Container, named_container, shortfall, sniff
from assets.audio.decoder import DecodeError, Decoder
from assets.audio.ffmpeg import is_known, opened_by_ffmpeg
from assets.audio.headers import Shortfall, has_rare_wav_codec
from assets.audio.libsndfile import UnsupportedError, opened_by_libsndfile
from assets.audio.problem import AudioFaultError, fault, truncated
from assets.audio.raw_format import RawFormat
from assets.audio.segments import AudioSource, decode_fault
from assets.audio.settings import ChannelPolicy
from assets.audio.source_file import SourceFile

# Rates outside this range come from a damaged header; resampling from them would take any amount of memory or time.
# What is allowed for training is a threshold, and narrower.
LOWEST_RATE_HZ = 2_000
HIGHEST_RATE_HZ = 384_000


@contextmanager
def open_source(
    file: SourceFile, name: str, raw: RawFormat | None = None, policy: ChannelPolicy = "mix"
) -> Iterator[AudioSource]:
    """Open a recording, after asking its container what it promises.

    Args:
        name: For its extension, which must not contradict the content.
        raw: What its samples are, where it is declared to have no header.
        policy: What is kept of several channels.

    Raises:
        AudioFaultError: with the reason ``empty_file``, ``not_audio``, ``decode_error``, ``no_frames``,
            ``sample_rate``, ``wrong_extension`` or ``truncated``.
    """
    container = _container_of(file, name, raw)
    if (cut_short := truncated(missing_of(file, container, raw))) is not None:
        raise cut_short
    with opened_decoder(file, container, raw) as decoder:
        if (misnamed := name_fault(name, container, raw)) is not None:
            raise misnamed
        yield AudioSource(decoder, file, container, policy)


@contextmanager
def opened_decoder(file: SourceFile, container: Container, raw: RawFormat | None) -> Iterator[Decoder]:
    """The first decoder that knows the recording.

    Raises:
        AudioFaultError: with the reason ``decode_error``, ``truncated`` (FLAC), ``no_frames`` or ``sample_rate``.
    """
    with ExitStack() as stack:
        try:
            decoder = _opened(file, container, raw, stack)
        except DecodeError as error:
            raise decode_fault(file, container, str(error)) from error
        if decoder.frames is not None and decoder.frames <= 0:
            raise fault("no_frames", f"has a {container} header and no samples", 0.0, 1.0)
        if not LOWEST_RATE_HZ <= decoder.rate_hz <= HIGHEST_RATE_HZ:
            limit = LOWEST_RATE_HZ if decoder.rate_hz < LOWEST_RATE_HZ else HIGHEST_RATE_HZ
            detail = f"states {decoder.rate_hz} Hz; possible are {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz"
            raise fault("sample_rate", detail, float(decoder.rate_hz), float(limit))
        yield decoder


def missing_of(file: SourceFile, container: Container, raw: RawFormat | None) -> Shortfall | None:
    """What the recording has of what it promises, where that is less."""
    return shortfall(file.data, container) if raw is None else _raw_shortfall(file, raw)


def name_fault(name: str, container: Container, raw: RawFormat | None) -> AudioFaultError | None:
    """The fault of a name whose extension contradicts what the recording is."""
    suffix = PurePosixPath(name).suffix.lower()
    if raw is None and suffix in SUFFIXES and SUFFIXES[suffix] != container:
        return fault("wrong_extension", f"is named {suffix} but holds {container}")
    return None


def _container_of(file: SourceFile, name: str, raw: RawFormat | None) -> Container:
    if not len(file.data):
        raise fault("empty_file", "has 0 bytes", 0.0, 1.0)
    if raw is not None:
        held = named_container(file.data)
        if held is not None:
            raise fault("wrong_extension", f"is declared to be headerless samples ({raw}) but holds {held}")
        return "raw"
    container = sniff(file.data)
    if container is None:
        hint = ""
        if SUFFIXES.get(PurePosixPath(name).suffix.lower()) == "raw":
            hint = "; samples without a header must be declared, such as raw_format: s16le/16000/1"
        start = file.data[:24]
        raise fault("not_audio", f"is not audio of a known kind: it begins with {start!r}{hint}")
    return container


def _opened(file: SourceFile, container: Container, raw: RawFormat | None, stack: ExitStack) -> Decoder:
    """The first decoder that knows the recording."""
    try:
        return stack.enter_context(opened_by_libsndfile(file.stream, raw))
    except UnsupportedError as error:
        if not is_known(container):
            raise DecodeError(f"does not open as {container}: {error}") from error
    except DecodeError as error:
        if container != "wav" or not has_rare_wav_codec(file.data):
            raise DecodeError(f"does not open as {container}: {error}") from error
    regular = stack.enter_context(file.as_regular_file())
    return stack.enter_context(opened_by_ffmpeg(regular, container))


def _raw_shortfall(file: SourceFile, raw: RawFormat) -> Shortfall | None:
    size = len(file.data)
    odd = size % raw.frame_bytes
    return (size, size - odd + raw.frame_bytes, f"bytes, in samples of {raw.frame_bytes}") if odd else None
