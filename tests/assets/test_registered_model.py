"""What makes a registration another one."""

from pathlib import Path

import pytest

from assets.outputs import MissingOutputError, Output
from assets.registered_model import registration_inputs
from training_jobs.jobs import RESULT_FILE, write_result

_URI = "sqlite:///mlflow.db"


def _measured(folder: Path, **figures: float) -> Output:
    folder.mkdir(parents=True)
    write_result(folder, dict(figures))
    return Output(folder.name, "the same inputs", folder)


def test_what_was_measured_again_is_registered_again(tmp_path: Path) -> None:
    final = Output("sft", "weights", tmp_path)
    evaluation = _measured(tmp_path / "evaluation", asr_wer=0.2)
    first = _measured(tmp_path / "first", tokens_per_second_p50=100.0)
    same = _measured(tmp_path / "same", tokens_per_second_p50=100.0)
    again = _measured(tmp_path / "again", tokens_per_second_p50=90.0)

    inputs = registration_inputs(final, evaluation, first, _URI)
    assert registration_inputs(final, evaluation, same, _URI) == inputs
    assert registration_inputs(final, evaluation, again, _URI) != inputs
    assert registration_inputs(final, _measured(tmp_path / "other", asr_wer=0.3), first, _URI) != inputs


def test_a_measurement_that_was_removed_is_named(tmp_path: Path) -> None:
    evaluation, latency = (_measured(tmp_path / name, figure=1.0) for name in ("evaluation", "latency"))
    (latency.path / RESULT_FILE).unlink()
    with pytest.raises(MissingOutputError, match="latency: its output"):
        registration_inputs(Output("sft", "weights", tmp_path), evaluation, latency, _URI)
