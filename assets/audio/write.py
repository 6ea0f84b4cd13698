"""The stored forms of audio (DESIGN §6): mono 16-bit WAV at 22,050 Hz and, where asked for, at 16 kHz too.

Both are made from the source, in one pass and with one gain; each file is named by its own content.

Shapes: N samples.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import soxr
from numpy.typing import NDArray

from assets.audio.loudness import RECORDED, Gain, gain_of, true_peak_dbfs
from assets.audio.settings import AudioSettings
from validation.digests import digest_bytes
from validation.lake_files import LakeFiles
from validation.measures import Measures, Waveform, without_nonfinite
from validation.signal.waveform import decibels
from validation.stored_audio import (
    AUDIO_FOLDER,
    STORED_RATE_HZ,
    VIEW_FOLDER,
    VIEW_RATE_HZ,
    WAV_HEADER_BYTES,
)

_FULL_SCALE = 32_768.0


@dataclass(frozen=True, slots=True)
class Stored:
    """A WAV file in the lake: its path there, the digest of its PCM samples and how many they are."""

    path: str
    digest: str
    frames: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """The samples to store, and the gain that they have over the source.

    Attributes:
        stored_N: At 22,050 Hz.
        view_N: At 16 kHz; ``None`` where none is wanted.
    """

    stored_N: NDArray[np.int16]
    view_N: NDArray[np.int16] | None
    gain: Gain


def render(samples_N: Waveform, rate_hz: int, settings: AudioSettings, measures: Measures) -> Rendered:
    """Resample to each rate (soxr, HQ) and convert to 16 bit, never clipping.

    A band-limited interpolation of a waveform near full scale overshoots it, and float sources may lie above it to
    begin with. Both are scaled down as a whole, by just what the largest sample needs: a gain is inaudible, a
    clipped peak is not. Everything else keeps its level, unless a loudness is set, and a 16-bit source at 22,050 Hz
    its very samples. NaN and infinite samples become 0; they are counted among the measures and rejected there.
    """
    finite_N, _ = without_nonfinite(samples_N)
    rates_hz = (STORED_RATE_HZ, VIEW_RATE_HZ) if settings.view_16k else (STORED_RATE_HZ,)
    forms = [_at_rate(finite_N, rate_hz, wanted_hz) for wanted_hz in rates_hz]
    gain = RECORDED
    if settings.loudness is not None:
        gain = gain_of(measures, settings.loudness, partial(_highest_dbfs, finite_N, rate_hz, forms))
    scale = _FULL_SCALE * 10 ** (gain.gain_db / 20)
    overshoot = max(_overshoot(form_N, scale) for form_N in forms)
    if overshoot > 1.0:
        scale /= overshoot
        gain = replace(gain, gain_db=gain.gain_db - 20 * float(np.log10(overshoot)), gain_limit="full_scale")
    pcm = [_quantised(form_N, scale) for form_N in forms]
    return Rendered(pcm[0], pcm[1] if settings.view_16k else None, gain)


def _at_rate(samples_N: Waveform, rate_hz: int, wanted_hz: int) -> Waveform:
    form_N = samples_N
    if rate_hz != wanted_hz:
        form_N = soxr.resample(samples_N, rate_hz, wanted_hz, quality="HQ")
    return form_N if form_N.size else np.zeros(1, dtype=np.float32)


def _highest_dbfs(samples_N: Waveform, rate_hz: int, forms: list[Waveform]) -> float:
    """The peak of the source, between its samples too, and of what is stored: a narrower band may stand higher."""
    highest = max(max(float(form_N.max()), -float(form_N.min())) for form_N in forms)
    return max(true_peak_dbfs(samples_N, rate_hz), decibels(highest**2))


def _overshoot(form_N: Waveform, scale: float) -> float:
    return max(scale * float(form_N.max()) / (_FULL_SCALE - 1), -scale * float(form_N.min()) / _FULL_SCALE)


def _quantised(form_N: Waveform, scale: float) -> NDArray[np.int16]:
    scaled_N = form_N * np.float32(scale)
    np.rint(scaled_N, out=scaled_N)
    np.clip(scaled_N, -_FULL_SCALE, _FULL_SCALE - 1, out=scaled_N)
    return scaled_N.astype(np.int16)


def write_wav(
    lake: LakeFiles,
    corpus: str,
    pcm_N: NDArray[np.int16],
    folder: str = AUDIO_FOLDER,
    rate_hz: int = STORED_RATE_HZ,
) -> Stored:
    """Write the samples under the name that their digest gives them; one that is there, whole, stays."""
    data = pcm_N.astype("<i2", copy=False).tobytes()
    digest = digest_bytes(data)
    stored = Stored(f"{folder}/{corpus}/{digest[:2]}/{digest}.wav", digest, int(pcm_N.size))
    if not lake.is_known_whole(stored.path, WAV_HEADER_BYTES + 2 * stored.frames):
        # Synced by the batch, before the batch's results are written (AudioResults.flush): a sync per file would
        # cost more than all of its work.
        lake.write_bytes(stored.path, _header(rate_hz, len(data)) + data, durable=False)
    return stored


def _header(rate_hz: int, size: int) -> bytes:
    """Of a WAV file with so many bytes of mono PCM16; what libsndfile writes, at a tenth of the time."""
    chunk = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    header = struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE") + chunk + struct.pack("<4sI", b"data", size)
    assert len(header) == WAV_HEADER_BYTES
    return header


def write_view(lake: LakeFiles, corpus: str, pcm_N: NDArray[np.int16]) -> Stored:
    """The same for the view at 16 kHz."""
    return write_wav(lake, corpus, pcm_N, VIEW_FOLDER, VIEW_RATE_HZ)
