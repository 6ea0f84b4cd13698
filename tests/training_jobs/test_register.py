"""A version is registered once, tagged, promoted by the gate and loadable elsewhere."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import soundfile
from safetensors.torch import load_file, save_file

from training_jobs.jobs import RegisterJob, Tracking, write_result
from training_jobs.register import RegistrationError, register
from training_jobs.registered import is_registered
from training_jobs.reporting import Reporter
from training_jobs.tracking_store import REGISTERED_MODEL, connect
from training_jobs.weights import WeightsError

_PREDICT = """
import io, sys
import mlflow, pandas as pd, soundfile
model = mlflow.pyfunc.load_model("models:/vita-audio-mctp@champion")
(answer,) = model.predict(pd.DataFrame({"audio": [sys.argv[1]]})).itertuples()
samples, rate = soundfile.read(io.BytesIO(answer.audio_wav))
print("ANSWER", answer.text, rate, len(samples) > 1000, answer.note)
"""


@pytest.fixture(autouse=True)
def empty_registry(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No versions yet, and MLflow's process-wide addresses as they were afterwards."""
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri)
    client = connect(tracking)
    if client.search_registered_models(f"name='{REGISTERED_MODEL}'"):
        client.delete_registered_model(REGISTERED_MODEL)
    yield
    mlflow.set_tracking_uri(before)
    mlflow.set_registry_uri(None)


@pytest.fixture
def job(trained: Any, tracking: Tracking, tmp_path: Path) -> RegisterJob:
    _write_figures(tmp_path, wer=0.1, boost_rate=250.0)
    return RegisterJob(
        model_dir=trained.model_dir,
        tokenizer_dir=trained.tokenizer_dir,
        evaluation_dir=tmp_path / "evaluation",
        benchmark_dir=tmp_path / "benchmark",
        output_dir=tmp_path / "registered",
        tracking=tracking,
    )


def _write_figures(folder: Path, wer: float, boost_rate: float) -> None:
    scores = {"asr_known_wer": wer, "asr_known_exact": 1 - wer}
    evaluation = {"overall": {"vanilla": scores, "boost": scores}, "scores_markdown": "| a |\n|---|"}
    write_result(folder / "evaluation", {**evaluation, "held_out_digest": "c" * 64, "run_id": "x"})
    modes = {
        mode: {"mode": mode, "tokens_per_second_p50": rate, "first_chunk_ms_p50": 1e4 / rate}
        for mode, rate in (("vanilla", 100.0), ("boost", boost_rate))
    }
    result = {"modes": modes, "hardware_digest": "a" * 64, "latency_markdown": "| b |\n|---|", "run_id": "y"}
    write_result(folder / "benchmark", result)


def _other_model(job: RegisterJob, folder: Path) -> RegisterJob:
    """The same job for weights that differ a little."""
    directory = folder / "other"
    shutil.copytree(job.model_dir, directory)
    tensors = load_file(directory / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"] * 1.0001
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    return job.model_copy(update={"model_dir": directory})


def test_first_good_model_becomes_champion_and_registering_it_again_makes_no_second_version(
    job: RegisterJob, tracking: Tracking, report: Reporter
) -> None:
    first = register(job, report)
    again = register(job, report)
    assert first["created"] and not again["created"]
    assert first["version"] == again["version"]
    assert again["aliases"] == ["candidate", "champion"]
    client = connect(tracking)
    assert len(client.search_model_versions(f"name='{REGISTERED_MODEL}'")) == 1
    version = client.get_model_version(REGISTERED_MODEL, first["version"])
    assert version.tags["profile"] == "tiny"
    assert version.tags["gate"] == "passed"
    assert version.tags["model_digest"] == first["model_digest"]
    assert client.get_run(version.run_id).data.metrics["boost/asr_known_wer"] == 0.1
    logged = client.get_logged_model(first["model_id"])
    assert {metric.key: metric.value for metric in logged.metrics}["boost/tokens_per_second_p50"] == 250.0


def test_a_registration_that_the_registry_has_lost_is_noticed(
    job: RegisterJob, tracking: Tracking, report: Reporter
) -> None:
    result = register(job, report)
    version, digest = result["version"], result["model_digest"]
    assert is_registered(tracking, version, digest)
    assert not is_registered(tracking, version, "0" * 64)
    assert not is_registered(tracking, "77", digest)
    connect(tracking).delete_registered_model(REGISTERED_MODEL)
    assert not is_registered(tracking, version, digest)


def test_a_worse_model_stays_candidate_and_says_why(
    job: RegisterJob, tracking: Tracking, report: Reporter, tmp_path: Path
) -> None:
    champion = register(job, report)
    other = _other_model(job, tmp_path)
    _write_figures(tmp_path, wer=0.2, boost_rate=250.0)
    worse = register(other, report)
    assert worse["created"]
    assert worse["aliases"] == ["candidate"]
    assert worse["registry_aliases"] == {"candidate": worse["version"], "champion": champion["version"]}
    assert "failed: asr_known_wer 0.2000 is at most 0.1200 (champion 0.1000)" in worse["gate_reasons"]
    _write_figures(tmp_path, wer=0.05, boost_rate=260.0)
    assert register(other, report)["aliases"] == ["candidate", "champion"]


def test_the_champion_answers_from_python(
    job: RegisterJob, trained: Any, report: Reporter, tmp_path: Path
) -> None:
    version = register(job, report)["version"]
    model = mlflow.pyfunc.load_model(f"models:/{REGISTERED_MODEL}/{version}")
    paths = [str(trained.wav["one"]), str(trained.wav["six"])]
    for given in (pd.DataFrame({"audio": paths}), paths):
        assert list(model.predict(given).text) == ["one", "six"]
    answer = model.predict(str(trained.wav["two"]), params={"task": "sqa"})
    assert answer.text[0] == "two"
    assert soundfile.info(io.BytesIO(answer.audio_wav[0])).samplerate == 22_050
    spoken = model.predict(pd.DataFrame({"text": ["six"]}), params={"task": "tts", "mode": "vanilla"})
    info = soundfile.info(io.BytesIO(spoken.audio_wav[0]))
    assert (info.samplerate, info.channels, info.subtype) == (22_050, 1, "PCM_16")
    silent = model.predict(paths[:1], params={"speak": False})
    assert (silent.text[0], silent.audio_wav[0], silent.note[0]) == ("one", b"", "")


def test_requests_that_cannot_be_answered_name_what_is_wrong(
    job: RegisterJob, trained: Any, report: Reporter, tmp_path: Path
) -> None:
    version = register(job, report)["version"]
    model = mlflow.pyfunc.load_model(f"models:/{REGISTERED_MODEL}/{version}")
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"no audio at all")
    with pytest.raises(ValueError, match=r"row 1: there is no file '/nowhere/x\.wav'"):
        model.predict([str(trained.wav["one"]), "/nowhere/x.wav"])
    with pytest.raises(ValueError, match=r"row 0: '.*noise\.wav' is no audio"):
        model.predict([str(noise)])
    with pytest.raises(ValueError, match="task is 'sing'; allowed are asr, sqa, tts"):
        model.predict([str(noise)], params={"task": "sing"})
    with pytest.raises(ValueError, match="task asr reads the column 'audio'; given are"):
        model.predict(pd.DataFrame({"path": ["x"]}))
    answer = model.predict([str(trained.wav["one"])], params={"max_new_tokens": 1})
    assert answer.note[0] == "a reply was cut at 1 tokens; the reply has no speech"


def test_big_weights_are_referred_to_and_refused_once_they_change(
    job: RegisterJob, trained: Any, report: Reporter, tmp_path: Path
) -> None:
    other = _other_model(job, tmp_path)
    result = register(other, report, copy_limit_bytes=10)
    assert result["weights"] == "by_reference"
    uri = f"models:/{REGISTERED_MODEL}/{result['version']}"
    assert mlflow.pyfunc.load_model(uri).predict([str(trained.wav["one"])]).text[0] == "one"
    (other.model_dir / "extra.txt").write_text("changed")
    with pytest.raises(WeightsError, match="has changed since it was registered"):
        mlflow.pyfunc.load_model(uri)


def test_an_unfinished_evaluation_is_refused(job: RegisterJob, report: Reporter, tmp_path: Path) -> None:
    (tmp_path / "evaluation" / "result.json").unlink()
    with pytest.raises(RegistrationError, match=r"evaluation has no result\.json"):
        register(job, report)


@pytest.mark.slow
def test_the_champion_answers_in_a_fresh_process_that_knows_only_the_tracking_uri(
    job: RegisterJob, trained: Any, tracking: Tracking, report: Reporter, tmp_path: Path
) -> None:
    _write_figures(tmp_path, wer=0.0, boost_rate=300.0)
    register(job, report)
    answer = subprocess.run(
        [sys.executable, "-c", _PREDICT, str(trained.wav["two"])],
        env={**os.environ, "MLFLOW_TRACKING_URI": tracking.uri, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert "ANSWER two 22050 True" in answer.stdout
