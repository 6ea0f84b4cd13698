"""What an ASR model hears: Whisper through faster-whisper (MIT), from a local directory.

Shapes: N samples at 16 kHz.
"""

from __future__ import annotations

from faster_whisper import WhisperModel

from validation.listening.config import TranscriptCheck
from validation.signal.waveform import Waveform
from validation.thresholds import primary_language


class Transcriber:
    """The model, loaded once per process, on one thread: the processes are the parallelism."""

    def __init__(self, check: TranscriptCheck) -> None:
        self._model = WhisperModel(
            str(check.model),
            device="cpu",
            compute_type=check.compute_type,
            cpu_threads=1,
            local_files_only=True,
        )
        self._beam_size = check.beam_size

    def transcribe(self, samples_N: Waveform, language: str) -> str | None:
        """What is said, as the model writes it; ``None`` for a language that it does not know.

        The transcript plays no part in it: the model is not to be talked into hearing what should be there.
        """
        primary = primary_language(language)
        if primary not in self._model.supported_languages:
            return None
        segments, _ = self._model.transcribe(
            samples_N,
            language=primary,
            beam_size=self._beam_size,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
        )
        return " ".join(segment.text.strip() for segment in segments).strip()
