"""A few seconds of a recording for a page: a small MP3, and a picture of its waveform and spectrum.

MP3 because every browser plays it, and because its encoder gives the same bytes for the same samples (an Ogg stream
begins with a number drawn at random).

Shapes: N samples, C channels, T columns, F frequencies.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import soundfile as sf
import soxr
from PIL import Image

from assets.audio.columns import ColumnFile
from assets.audio.containers import sniff
from assets.audio.decode import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from assets.audio.decoder import DecodeError, Decoder
from assets.audio.ffmpeg import is_known, opened_by_ffmpeg
from assets.audio.libsndfile import UnsupportedError, opened_by_libsndfile
from assets.audio.pool import WorkerDied, map_surviving
from assets.audio.problem import AudioFaultError
from assets.audio.raw_format import RawFormat
from assets.audio.source_file import SourceFile, opened_container, opened_source
from assets.audio.work import Recording
from validation.lake_files import LakeFiles
from validation.measures import Waveform, without_nonfinite
from validation.stored_audio import STORED_RATE_HZ, WAV_HEADER_BYTES

LONGEST_S = 15.0
# Above it a source is not opened for a player: it is read whole before it is trusted.
MOST_SOURCE_BYTES = 256 << 20
_SOURCE_LIMIT_S = 300.0  # one recording may take a worker so long
_COMPRESSION = 0.75  # of libsndfile's scale: about 48 kbit/s at 22.05 kHz
_COLUMNS, _ROWS = 320, 72
_WINDOW_S = 0.025
_RANGE_DB = 70.0
# From silent to loud, told apart by the colour-blind too; the colours between are interpolated.
_COLOURS = "000004 1d1147 51127c 832681 b73779 e75263 fc8961 fec488 fcfdbf"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The beginning of a recording, ready for a page.

    Attributes:
        mp3: Base64; likewise ``spectrum``, a PNG.
        seconds: How much of it there is.
        whole_s: How long the recording is; ``None`` where it was not decoded to its end.
        wave: The lowest and highest sample in each of :data:`_COLUMNS` columns, -1 to 1.
        origin: Where it was read from, for a person.
    """

    mp3: str
    seconds: float
    whole_s: float | None
    wave: tuple[tuple[float, float], ...]
    spectrum: str
    origin: str


@dataclass(frozen=True, slots=True)
class NoExcerpt:
    """Why there is none, for a person."""

    why: str


def stored_excerpt(lake: LakeFiles, path: str, frames: int) -> Excerpt | NoExcerpt:
    """The beginning of a stored recording; no more of it is read."""
    wanted = min(frames, round(LONGEST_S * STORED_RATE_HZ))
    with lake.open(path) as stream:
        stream.seek(WAV_HEADER_BYTES)
        data = stream.read(2 * wanted)
    pcm_N = np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2")
    if not pcm_N.size:
        return NoExcerpt("its stored file is empty")
    samples_N = pcm_N.astype(np.float32) / 32768.0
    return excerpt_of(samples_N, STORED_RATE_HZ, frames / STORED_RATE_HZ, "the stored audio")


def source_excerpts(recordings: Sequence[Recording]) -> Mapping[Recording, Excerpt | NoExcerpt]:
    """The beginnings of recordings that were never stored, from their sources, each as far as it decodes.

    A worker does it, because what was rejected may crash a decoder or keep it busy for ever.
    """
    found: dict[Recording, Excerpt | NoExcerpt] = {}
    died = NoExcerpt("its source ends the process that decodes it, or keeps it too long")
    for recording, result in map_surviving(_source_excerpt, recordings, 1, lambda _: _SOURCE_LIMIT_S):
        found[recording] = died if isinstance(result, WorkerDied) else result
    return found


def excerpt_of(samples_N: Waveform, rate_hz: int, whole_s: float | None, origin: str) -> Excerpt:
    """The excerpt of a mono waveform of at most :data:`LONGEST_S`, at least one sample."""
    finite_N, _ = without_nonfinite(samples_N)
    if rate_hz != STORED_RATE_HZ:
        finite_N = soxr.resample(finite_N, rate_hz, STORED_RATE_HZ).astype(np.float32)
    bounded_N = np.clip(finite_N, -1.0, 1.0)
    return Excerpt(
        mp3=_encoded(_mp3(bounded_N)),
        seconds=samples_N.size / rate_hz,
        whole_s=whole_s,
        wave=_wave(bounded_N),
        spectrum=_encoded(_spectrum_png(bounded_N)),
        origin=origin,
    )


def _source_excerpt(recording: Recording) -> Excerpt | NoExcerpt:
    raw = None if recording.raw_format is None else RawFormat.parse(recording.raw_format)
    try:
        with opened_container(recording.file) as stream:
            container = ColumnFile(stream) if recording.place.column is not None else stream
            with opened_source(container, recording.place, recording.digest) as file:
                return _decoded(file, recording, raw)
    except AudioFaultError as error:
        return NoExcerpt(f"its source {error.problem.detail}".rstrip("."))
    except (DecodeError, UnsupportedError) as error:
        return NoExcerpt(f"its source does not decode: {error}".rstrip("."))


def _decoded(file: SourceFile, recording: Recording, raw: RawFormat | None) -> Excerpt | NoExcerpt:
    try:
        with opened_by_libsndfile(file.stream, raw) as decoder:
            return _read(decoder, recording)
    except (DecodeError, UnsupportedError):
        container = sniff(file.data) if raw is None else None
        if container is None or not is_known(container):
            raise
        with file.as_regular_file() as regular, opened_by_ffmpeg(regular, container) as other:
            return _read(other, recording)


def _read(decoder: Decoder, recording: Recording) -> Excerpt | NoExcerpt:
    (segment,) = recording.segments
    rate_hz = decoder.rate_hz
    if not LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ:
        return NoExcerpt(f"its source states {rate_hz} Hz")
    first = round(max(segment.start_s, 0.0) * rate_hz)
    length_s = LONGEST_S
    if segment.end_s is not None:
        length_s = max(0.0, min(LONGEST_S, segment.end_s - segment.start_s))
    if first and decoder.seeks_exactly and decoder.frames is not None and first < decoder.frames:
        decoder.seek(first)
    elif first:
        _skip(decoder, first)
    samples_N = _first_channel(decoder, round(length_s * rate_hz))
    if not samples_N.size:
        return NoExcerpt("nothing of its source decodes")
    whole_s = None
    if segment.end_s is None and decoder.frames is not None:
        whole_s = decoder.frames / rate_hz - segment.start_s
    return excerpt_of(samples_N, rate_hz, whole_s, "the source, first channel")


def _skip(decoder: Decoder, count: int) -> None:
    while count > 0:
        read = decoder.read(min(count, 1 << 20)).shape[0]
        if not read:
            return
        count -= read


def _first_channel(decoder: Decoder, count: int) -> Waveform:
    """As far as it decodes. Not the mean: that of channels which cancel each other would be silence."""
    blocks: list[Waveform] = [np.empty(0, dtype=np.float32)]
    left = count
    while left > 0:
        try:
            block_NC = decoder.read(min(left, 4096))
        except DecodeError:
            break  # the recording was not accepted because of that: what comes before can be heard
        if not block_NC.shape[0]:
            break
        blocks.append(block_NC[:, 0].copy())
        left -= block_NC.shape[0]
    return np.concatenate(blocks)


def _mp3(samples_N: Waveform) -> bytes:
    buffer = io.BytesIO()
    sf.write(
        buffer,
        samples_N,
        STORED_RATE_HZ,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=_COMPRESSION,
        bitrate_mode="CONSTANT",
    )
    return buffer.getvalue()


def _wave(samples_N: Waveform) -> tuple[tuple[float, float], ...]:
    parts = np.array_split(samples_N, min(_COLUMNS, samples_N.size))
    return tuple((round(float(part.min()), 3), round(float(part.max()), 3)) for part in parts)


def _spectrum_png(samples_N: Waveform) -> bytes:
    """Power from 0 to 11 kHz over time, the loudest 70 dB, as an image of 256 colours."""
    size = round(_WINDOW_S * STORED_RATE_HZ)
    padded_N = np.pad(samples_N, (0, max(0, size - samples_N.size)))
    starts = np.linspace(0, padded_N.size - size, _COLUMNS).astype(np.int64)
    frames_TN = padded_N[starts[:, None] + np.arange(size)] * np.hanning(size).astype(np.float32)
    power_TF = np.abs(np.fft.rfft(frames_TN, axis=1)) ** 2
    bands = np.array_split(np.arange(power_TF.shape[1]), _ROWS)
    pooled_TF = np.stack([power_TF[:, band].mean(axis=1) for band in bands], axis=1)
    level_TF = 10.0 * np.log10(np.maximum(pooled_TF, 1e-12))
    shades_TF = np.clip((level_TF - level_TF.max()) / _RANGE_DB + 1.0, 0.0, 1.0)
    pixels_FT = np.round(255 * shades_TF.T[::-1]).astype(np.uint8)
    image = Image.fromarray(pixels_FT, mode="P")
    image.putpalette(_palette())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _palette() -> bytes:
    anchors = np.array([list(bytes.fromhex(colour)) for colour in _COLOURS.split()], dtype=np.float64)
    places = np.linspace(0.0, len(anchors) - 1, 256)
    channels = [np.interp(places, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return np.round(np.stack(channels, axis=1)).astype(np.uint8).tobytes()


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
