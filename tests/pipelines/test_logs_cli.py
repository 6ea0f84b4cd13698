"""``voxline logs`` says how each stage went, finds the launch that matters, and follows one that runs."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from assets.outputs import Outputs
from pipelines import stage_logs
from pipelines.cli import app
from training_jobs.checkpoint_files import State, write_state
from training_jobs.history import HISTORY_FILE, History, StepRecord, TaskLosses
from training_jobs.jobs import write_result
from training_jobs.log_lines import LOG_FILE
from validation.errors import UserError

runner = CliRunner()
AT = "2026-11-23 14:59:03,862 [rank 0]"
DIVERGED = "DivergedError: sft: loss has exploded at step 90, in rows with the samples c/1"


def invoke(*arguments: object) -> str:
    result = runner.invoke(app, [str(one) for one in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def history(steps: int) -> History:
    rng = np.random.default_rng(0)
    made = History()
    for step in range(steps):
        loss = 1 + 5 * float(np.exp(-step / 10)) + float(rng.normal(0, 0.05))
        record = StepRecord(step, loss, loss, [], 1e-3, 2.0, 1000, 0.5, 0.001)
        made.add(record, TaskLosses(step, step, {"asr": [10]}, {"asr": [10 * loss]}), steps)
    return made


def launch(home: Path, stage: str, inputs: str, lines: list[str], steps: int = 100) -> Path:
    """A launch of a stage, with a job and a log."""
    directory = Outputs(home / "training" / "tiny").directory(stage, inputs * 64)
    directory.mkdir(parents=True)
    (directory / "job.json").write_text(json.dumps({"spec": {"steps": steps, "curriculum": None}}))
    (directory / LOG_FILE).write_text("".join(f"{line}\n" for line in lines))
    return directory


def at(directory: Path, seconds: float) -> None:
    """When its log was last written to."""
    os.utime(directory / LOG_FILE, (seconds, seconds))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """One stage is passed over, one has finished, one was stopped after a checkpoint, and one has never run."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "voxline.yaml").write_text("profile: tiny\n")
    outputs = Outputs(home / "training" / "tiny")
    base = outputs.directory("base_model", "b" * 64)
    base.mkdir(parents=True)
    write_result(base, {})
    outputs.publish("base_model", "b" * 64, pointer="text_audio_alignment")
    done = launch(
        home,
        "single_mctp",
        "1",
        [f"{AT} WARNING run {number} is late" for number in (1, 2)]
        + [f"{AT} INFO single_mctp 100/100 loss 1.0"],
    )
    (done / HISTORY_FILE).write_text(json.dumps(history(100).to_json()))
    write_result(done, {"verdict": "converged"})
    outputs.publish("single_mctp", "1" * 64)
    stopped = launch(home, "sft", "5", [f"{AT} INFO sft {step}/100 loss 1.0 lr 1" for step in (60, 90)])
    for steps in (50, 70):
        checkpoint = stopped / "checkpoints" / f"step-{steps:06d}"
        checkpoint.mkdir(parents=True)
        state = State(
            steps_done=steps, fingerprint="f", world_size=2, zero_stage=2, files={}, history=history(steps)
        )
        write_state(checkpoint, state)
    return home


def test_all_stages_stand_in_one_table(home: Path) -> None:
    said = invoke("logs", "--home", home)
    lines = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.strip()}
    assert lines["text_audio_alignment"] == ["passed", "over"]
    finished = lines["single_mctp"]
    assert finished[:3] == ["finished", "100/100", "converged"]
    assert finished[-4:] == ["2,000", "0.20%", "2", "0"]
    assert lines["multi_mctp"] == ["never"]
    assert lines["sft"][:3] == ["stopped", "90/100", "converged"]


def test_one_stage_is_told_in_full_with_its_last_lines(home: Path) -> None:
    said = invoke("logs", "single_mctp", "--home", home)
    for words in (
        "single_mctp finished, step 100 of 100\n",
        "converged: from ",
        "2,000 tokens/s (2,000 at first, 2,000 at last), 0.20% of the time waiting for rows, 0 gradient spikes",
        "task asr",
        "2 warnings, 0 errors",
        "warning     2 × from line 1: run 1 is late",
        f"{AT} INFO single_mctp 100/100 loss 1.0",
    ):
        assert words in said, words
    only = invoke("logs", "single_mctp", "--errors", "--home", home)
    assert "run 1 is late" in only and "INFO" not in only and "task asr" not in only


def test_a_stage_that_was_stopped_is_judged_by_its_newest_checkpoint(home: Path) -> None:
    said = invoke("logs", "sft", "--home", home)
    assert "sft stopped, step 90 of 100; losses up to step 70, the last checkpoint" in said
    newest = home / "training/tiny/sft" / ("5" * 16) / "checkpoints" / "step-000070"
    (newest / "state.json").write_text("{")
    assert "losses up to step 50, the last checkpoint" in invoke("logs", "sft", "--home", home)


def test_json_has_all_of_it(home: Path) -> None:
    one = json.loads(invoke("logs", "single_mctp", "--json", "--home", home))
    assert one["analysis"]["curves"]["task asr"]["verdict"] == "converged"
    assert one["analysis"]["log"]["messages"][0]["count"] == 2
    every = json.loads(invoke("logs", "--json", "--home", home))
    assert [(stage["stage"], stage["state"]) for stage in every] == [
        ("text_audio_alignment", "passed over"),
        ("single_mctp", "finished"),
        ("multi_mctp", "never"),
        ("sft", "stopped"),
    ]


def test_a_stage_that_diverged_says_so_with_its_own_words(home: Path) -> None:
    log = home / "training/tiny/sft" / ("5" * 16) / LOG_FILE
    with log.open("a") as stream:
        stream.write(f"{AT} ERROR {DIVERGED}\nsupervisor: the program ended with code 1 after 9 s\n")
    said = invoke("logs", "sft", "--home", home)
    assert f"diverged: {DIVERGED}" in said and "0 warnings, 2 errors" in said


def test_the_last_launch_counts_whether_it_was_finished_or_not(home: Path) -> None:
    pointer = home / "training/tiny/present/single_mctp.json"
    later = launch(home, "single_mctp", "2", [f"{AT} ERROR OSError: gone"])
    at(later, pointer.stat().st_mtime + 10)
    assert "single_mctp stopped, step 0 of 100" in invoke("logs", "single_mctp", "--home", home)
    # The earlier one is made the present one again: the file or the mixture is what it was.
    os.utime(pointer, (pointer.stat().st_mtime + 20,) * 2)
    assert "single_mctp finished" in invoke("logs", "single_mctp", "--home", home)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("pretraining",),
            "'pretraining' is no stage; there are text_audio_alignment, single_mctp, multi_mctp, sft",
        ),
        (("multi_mctp",), "stage multi_mctp has never run in profile tiny"),
        (("sft", "--profile", "7b"), "stage sft has never run in profile 7b"),
        (("sft", "--profile", "8b"), "--profile is '8b'; it may be tiny"),
        (("--follow",), "--follow needs a stage"),
        (("sft", "--follow", "--json"), "it cannot be --json"),
    ],
)
def test_what_is_not_there_is_refused(home: Path, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError) as caught:
        invoke("logs", *arguments, "--home", home)
    assert words in str(caught.value)


def test_a_refusal_ends_with_exit_code_2_and_no_torch_is_loaded(home: Path) -> None:
    code = "import sys; from pipelines.cli import main; import atexit; " + (
        "atexit.register(lambda: print('torch' in sys.modules)); main()"
    )
    command = [sys.executable, "-c", code, "logs", "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "False" and "converged" in done.stdout
    command.insert(4, "unknown")
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert refused.returncode == 2 and "'unknown' is no stage" in refused.stderr


def test_a_running_stage_is_followed_to_its_end(home: Path) -> None:
    log = home / "training/tiny/sft" / ("5" * 16) / LOG_FILE
    start = log.stat().st_size
    supervisor = log.open("ab", buffering=0)
    fcntl.flock(supervisor, fcntl.LOCK_EX)
    assert stage_logs.is_running(log)
    assert "sft running, step 90 of 100" in invoke("logs", "sft", "--home", home)
    coming = stage_logs.follow(log, start)
    supervisor.write(b"the first\nthe sec")
    assert next(coming) == "the first"
    supervisor.write(b"ond\nbar 1 %\rbar 2 %\nunfinished")
    assert [next(coming), next(coming)] == ["the second", "bar 2 %"]
    supervisor.close()
    assert list(coming) == ["unfinished"]
    assert not stage_logs.is_running(log)


def test_following_with_errors_shows_warnings_and_errors_only(home: Path) -> None:
    log = home / "training/tiny/sft" / ("5" * 16) / LOG_FILE
    supervisor = log.open("ab", buffering=0)
    fcntl.flock(supervisor, fcntl.LOCK_EX)
    said: list[Any] = []
    follower = threading.Thread(
        target=lambda: said.append(invoke("logs", "sft", "--follow", "--errors", "--home", home))
    )
    follower.start()
    supervisor.write(f"{AT} INFO sft 91/100 loss 1.0 lr 1\n{AT} WARNING late\n".encode())
    supervisor.write(b"Traceback (most recent call last):\n  File x\nOSError: gone\n")
    supervisor.close()
    follower.join(timeout=60)
    assert "late" in said[0] and "OSError: gone" in said[0] and "sft 91/100" not in said[0]


def test_the_tail_of_a_log_ends_with_its_last_whole_line(tmp_path: Path) -> None:
    log = tmp_path / LOG_FILE
    log.write_bytes(b"one\ntwo\nthree\nfour")
    assert stage_logs.tail(log, 2) == (["two", "three"], 14)
    log.write_bytes(b"four")
    assert stage_logs.tail(log, 2) == ([], 0)
    log.write_bytes(b"")
    assert stage_logs.tail(log, 2) == ([], 0)
