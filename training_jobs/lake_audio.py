"""Reading the lake's stored recordings (mono PCM16 WAV) as waveforms."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import soundfile
from numpy.typing import NDArray

from validation.errors import UserError
from validation.lake import Lake

Waveform: TypeAlias = tuple[NDArray[np.float32], int]  # samples in [-1, 1], mono; rate in Hz


class StoredAudioError(UserError):
    """A recording that the tables name and the lake does not hold as they say; names the file."""


def read_waveform(lake: Lake, audio_path: str) -> Waveform:
    """Samples and rate of the recording at ``audio_path``, relative to the lake's root.

    Raises:
        StoredAudioError: if the file is missing, is no audio, or is not mono.
    """
    if not lake.exists(audio_path):
        raise StoredAudioError(f"{lake.uri(audio_path)} is missing; materialise audio_22k again")
    try:
        with lake.open(audio_path) as stream:
            samples, rate_hz = soundfile.read(stream, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise StoredAudioError(f"{lake.uri(audio_path)} cannot be read: {error}") from error
    if samples.shape[1] != 1:
        raise StoredAudioError(
            f"{lake.uri(audio_path)} has {samples.shape[1]} channels; stored audio is mono"
        )
    return samples[:, 0], int(rate_hz)
