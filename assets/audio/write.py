"""The stored form of audio (DESIGN §6): mono, 22,050 Hz, 16-bit WAV, named by its own content.

Shapes: N samples.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from validation.digests import digest_bytes
from validation.lake_files import LakeFiles
from validation.measures import Waveform, without_nonfinite
from validation.stored_audio import STORED_RATE_HZ, WAV_HEADER_BYTES

_FULL_SCALE = 32_768.0


@dataclass(frozen=True, slots=True)
class Stored:
    """A WAV file in the lake: its path there, the digest of its PCM samples and how many they are."""

    path: str
    digest: str
    frames: int


def to_stored_form(samples_N: Waveform, rate_hz: int) -> NDArray[np.int16]:
    """Resample to 22,050 Hz (soxr, HQ) and convert to 16 bit, never clipping.

    A band-limited interpolation of a waveform near full scale overshoots it, and float sources may lie above it to
    begin with. Both are scaled down as a whole, by just what the largest sample needs: a gain is inaudible, a
    clipped peak is not. Everything else keeps its level, and a 16-bit source at 22,050 Hz its very samples.
    NaN and infinite samples become 0; they are counted among the measures and rejected there.
    """
    stored_N, _ = without_nonfinite(samples_N)
    if rate_hz != STORED_RATE_HZ:
        stored_N = soxr.resample(stored_N, rate_hz, STORED_RATE_HZ, quality="HQ")
    if not stored_N.size:
        stored_N = np.zeros(1, dtype=np.float32)
    scaled_N = stored_N * np.float32(_FULL_SCALE)
    overshoot = max(float(scaled_N.max()) / (_FULL_SCALE - 1), -float(scaled_N.min()) / _FULL_SCALE)
    if overshoot > 1.0:
        scaled_N /= np.float32(overshoot)
    rounded_N: NDArray[np.int16] = np.clip(np.rint(scaled_N), -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
    return rounded_N


def write_wav(lake: LakeFiles, corpus: str, pcm_N: NDArray[np.int16]) -> Stored:
    """Write the samples under the name that their digest gives them; one that is there, whole, stays."""
    digest = digest_bytes(pcm_N.astype("<i2", copy=False).tobytes())
    stored = Stored(audio_path(corpus, digest), digest, int(pcm_N.size))
    if lake.size(stored.path) != WAV_HEADER_BYTES + 2 * stored.frames:
        buffer = io.BytesIO()
        sf.write(buffer, pcm_N, STORED_RATE_HZ, format="WAV", subtype="PCM_16")
        # Synced by the batch, before the batch's results are written (AudioResults.flush): a sync per file would
        # cost more than all of its work.
        with lake.atomic_write(stored.path, durable=False) as stream:
            stream.write(buffer.getbuffer())
    return stored


def audio_path(corpus: str, digest: str) -> str:
    """Path, relative to the lake's root, of the audio with this digest."""
    return f"audio_22k/{corpus}/{digest[:2]}/{digest}.wav"
