"""Reading the lake's stored recordings (mono PCM16 WAV) as waveforms."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeAlias

import numpy as np
import soundfile
from numpy.typing import NDArray

from validation.errors import UserError
from validation.lake_files import LakeFiles

_AHEAD = 8
Waveform: TypeAlias = tuple[NDArray[np.float32], int]  # samples in [-1, 1], mono; rate in Hz


class StoredAudioError(UserError):
    """A recording that the tables name and the lake does not hold as they say; names the file."""


def read_waveform(lake: LakeFiles, audio_path: str) -> Waveform:
    """Samples and rate of the recording at ``audio_path``, relative to the lake's root.

    Raises:
        StoredAudioError: if the file is missing, is no audio, or is not mono.
    """
    with _opened(lake, audio_path) as sound:
        samples: NDArray[np.float32] = sound.read(dtype="float32")
        return samples, int(sound.samplerate)


def read_waveforms(lake: LakeFiles, audio_paths: Iterable[str]) -> Iterator[Waveform]:
    """The recordings in their order; some are read ahead where each is asked of an object store.

    Raises:
        StoredAudioError: likewise.
    """
    if lake.is_local:
        yield from (read_waveform(lake, path) for path in audio_paths)
        return
    ahead: deque[Future[Waveform]] = deque()
    with ThreadPoolExecutor(_AHEAD) as threads:
        for path in audio_paths:
            ahead.append(threads.submit(read_waveform, lake, path))
            if len(ahead) > _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def read_piece(lake: LakeFiles, audio_path: str, start_s: float, seconds: float) -> Waveform:
    """That many seconds of the recording from ``start_s`` on; where it ends, it begins again.

    Raises:
        StoredAudioError: likewise, and if it has no samples.
    """
    with _opened(lake, audio_path) as sound:
        rate_hz, frames = int(sound.samplerate), int(sound.frames)
        if not frames:
            raise StoredAudioError(f"{lake.uri(audio_path)} has no samples")
        wanted, start = max(round(seconds * rate_hz), 1), round(start_s * rate_hz) % frames
        sound.seek(start)
        samples: NDArray[np.float32] = sound.read(wanted, dtype="float32")
        if samples.size < wanted:
            sound.seek(0)
            again = sound.read(wanted - samples.size, dtype="float32")
            # Where even the whole is too short, it goes on from its own beginning.
            samples = np.concatenate([samples, np.resize(again, wanted - samples.size)])
        return samples, rate_hz


@contextmanager
def _opened(lake: LakeFiles, audio_path: str) -> Iterator[soundfile.SoundFile]:
    try:
        with lake.open(audio_path) as stream:
            # The first request to an object store says whether it is there, and how long it is, and brings the most.
            stream.read(1)
            stream.seek(0)
            with soundfile.SoundFile(stream) as sound:
                if sound.channels != 1:
                    raise StoredAudioError(
                        f"{lake.uri(audio_path)} has {sound.channels} channels; stored audio is mono"
                    )
                yield sound
    except FileNotFoundError as error:
        raise StoredAudioError(f"{lake.uri(audio_path)} is missing; materialise audio_22k again") from error
    except soundfile.LibsndfileError as error:
        raise StoredAudioError(f"{lake.uri(audio_path)} cannot be read: {error}") from error
