"""Which models measure a corpus: typed, and all of them off unless the corpora file turns them on."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from validation.errors import ConfigurationError
from validation.strict import Strict

LISTENING_RATE_HZ = 16_000  # what all of these models take


class TranscriptCheck(Strict):
    """An ASR model that reads the transcripts' recordings.

    Attributes:
        model: A local directory with a CTranslate2 conversion of Whisper; nothing is ever downloaded.
        beam_size: Hypotheses kept while decoding.
        compute_type: The precision of the weights.
    """

    model: Path
    beam_size: int = Field(default=1, ge=1, le=10)
    compute_type: Literal["int8", "int8_float32", "float32", "int8_float16", "float16"] = "int8"

    @field_validator("model")
    @classmethod
    def _is_there(cls, model: Path) -> Path:
        if not model.is_absolute() or not (model / "model.bin").is_file():
            raise ValueError("must be an absolute path of a directory with a model.bin")
        return model


class ModelMeasures(Strict):
    """Models that measure a corpus.

    Attributes:
        voice_activity: Silero VAD, for ``speech_share``: 8 ms of one core per second of sound.
        mos: DNSMOS, for ``mos``, ``mos_signal`` and ``mos_background``: 0.1 to 0.6 s.
        transcript: Whisper, for ``heard_text``, ``word_error_rate`` and ``char_error_rate``: 0.3 s and more.
        language: The language of the texts, for ``language_probability``: 0.3 ms per text.
    """

    voice_activity: bool = False
    mos: bool = False
    transcript: TranscriptCheck | None = None
    language: bool = False

    @property
    def listens(self) -> bool:
        """Whether any of them needs the sound."""
        return self.voice_activity or self.mos or self.transcript is not None


def require(package: str, entry: str) -> None:
    """Refuse a model whose package is missing before any work is done.

    Raises:
        ConfigurationError: naming the entry, the package and the extra that has it.
    """
    if importlib.util.find_spec(package) is None:
        raise ConfigurationError(
            f"models.{entry} needs the package {package}, which is not installed: pip install -e '.[listening]'"
        )
