"""A version is registered once, tagged, promoted by the gate and loadable elsewhere."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
import soundfile
from registering import empty_registry, other_model, register_job, write_figures

from training_jobs import register as registering
from training_jobs.decoding_settings import DecodingSettings
from training_jobs.jobs import RegisterJob, Tracking
from training_jobs.register import register
from training_jobs.registered import decoding_of, is_registered, version_at
from training_jobs.reporting import Reporter
from training_jobs.tracking_store import REGISTERED_MODEL, connect
from training_jobs.version_figures import RegistrationError
from training_jobs.weights import WeightsError

_PREDICT = """
import io, sys
import mlflow, pandas as pd, soundfile
model = mlflow.pyfunc.load_model("models:/vita-audio-mctp@champion")
(answer,) = model.predict(pd.DataFrame({"audio": [sys.argv[1]]})).itertuples()
samples, rate = soundfile.read(io.BytesIO(answer.audio_wav))
print("ANSWER", answer.text, rate, len(samples) > 1000, answer.note)
"""


CONSTRAINED = DecodingSettings(constrained=True)


@pytest.fixture(autouse=True)
def no_versions(tracking: Tracking, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri)
    with empty_registry(tracking):
        yield


@pytest.fixture
def job(trained: Any, tracking: Tracking, tmp_path: Path) -> RegisterJob:
    return register_job(trained, tracking, tmp_path)


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


def test_a_model_that_is_no_good_by_itself_stays_candidate_and_says_why(
    job: RegisterJob, report: Reporter, tmp_path: Path
) -> None:
    write_figures(tmp_path, wer=0.7)
    refused = register(job, report)
    assert refused["aliases"] == ["candidate"]
    assert "failed: asr_known_wer 0.7000 is at most 0.5000" in refused["gate_reasons"]
    assert refused["duel"] == {} and refused["duel_champion"] is None
    write_figures(tmp_path, wer=0.2)
    assert register(job, report)["aliases"] == ["candidate", "champion"]


@pytest.mark.parametrize("is_served", [False, True], ids=["one file", "behind a server"])
def test_registered_by_two_at_once_it_is_one_version(
    job: RegisterJob,
    tracking: Tracking,
    report: Reporter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_served: bool,
) -> None:
    if is_served:
        # Servers lend no lock.
        monkeypatch.setattr(registering, "registry_turn", lambda uri: nullcontext())
    jobs = [job.model_copy(update={"output_dir": tmp_path / name}) for name in "ab"]
    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(lambda one: register(one, report), jobs))
    assert len({result["version"] for result in results}) == 1
    assert sorted(result["created"] for result in results) == [False, True]
    (version,) = connect(tracking).search_model_versions(f"name='{REGISTERED_MODEL}'")
    assert str(version.version) == results[0]["version"]
    champion = version_at(connect(tracking), "champion")
    assert champion is not None and str(champion.version) == results[0]["version"]
    assert version_at(connect(tracking), "previous") is None


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


def test_the_same_weights_decoded_otherwise_are_another_version_that_serves_as_it_was_judged(
    job: RegisterJob, trained: Any, tracking: Tracking, report: Reporter
) -> None:
    first = register(job, report)
    write_figures(job.output_dir.parent, decoding=CONSTRAINED)
    other = register(job.model_copy(update={"decoding": CONSTRAINED}), report)
    assert other["created"] and other["version"] != first["version"]
    assert (
        other["duel_champion"] == first["version"]
        and "each decodes as it is served" in other["duel_markdown"]
    )
    # The full head transcribes; constrained, Boost loses the words of its MCTP steps.
    assert not other["gate_passed"]
    assert any(line.startswith("failed: boost/asr_known_") for line in other["gate_reasons"])
    paths = [str(trained.wav["one"]), str(trained.wav["six"])]
    models = {
        result["version"]: mlflow.pyfunc.load_model(f"models:/{REGISTERED_MODEL}/{result['version']}")
        for result in (first, other)
    }
    full, constrained = (list(model.predict(paths).text) for model in models.values())
    assert full == ["one", "six"] != constrained
    asked = [list(model.predict(paths, params={"constrained": False}).text) for model in models.values()]
    assert asked == [full, full]
    stored = connect(tracking).get_model_version(REGISTERED_MODEL, other["version"])
    assert decoding_of(stored) == CONSTRAINED


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
    other = other_model(job, tmp_path / "other")
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
    write_figures(tmp_path, wer=0.0, boost_rate=300.0)
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
