"""Which models listen to spoken replies, as the profile has it."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from training_jobs.profile import EvaluationSettings, unset_variable
from validation.errors import ConfigurationError
from validation.listening.config import ModelMeasures, TranscriptCheck
from validation.listening.listener import check_packages
from validation.strict import explain


def listening_of(settings: EvaluationSettings) -> ModelMeasures | None:
    """The models that listen; ``None`` where none does.

    Raises:
        ConfigurationError: if the ASR model is not there, or a package is missing.
    """
    transcript = None
    if settings.asr_model is not None and unset_variable(settings.asr_model) is None:
        directory = Path(os.path.expandvars(settings.asr_model))
        try:
            transcript = TranscriptCheck(model=directory)
        except ValidationError as error:
            raise ConfigurationError(
                f"evaluation.asr_model {settings.asr_model!r} is {str(directory)!r}: {explain(error)}"
            ) from error
    models = ModelMeasures(mos=settings.mos, transcript=transcript)
    if not models.listens:
        return None
    check_packages(models)
    return models
