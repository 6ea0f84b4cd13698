"""Two runs at once in one home, and a home that was copied elsewhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Pipeline

pytestmark = pytest.mark.slow
_DEADLINE_S = 300.0


def test_two_runs_at_once_take_turns_and_the_second_finds_everything_done(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with pipeline.alone():
        shutil.copytree(pipeline.home, home)
    for step in ("raw_utterances", "training_jsonl"):  # they are to be done again
        shutil.rmtree(home / "lake" / "manifests" / step)
    command = [sys.executable, "-m", "pipelines.cli", "run", "--corpora", str(pipeline.corpora)]
    command += ["--profile", "debug", "--home", str(home)]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    try:
        outputs = [run.communicate(timeout=_DEADLINE_S)[0] for run in both]
    finally:
        for run in both:
            run.kill()
    assert [run.returncode for run in both] == [0, 0], "\n".join(outputs)
    waited = ["waiting for run" in output for output in outputs]
    assert sorted(waited) == [False, True], "\n".join(outputs)
    second = outputs[waited.index(True)]
    assert "Nothing was stale" in second
    # And what was made in the copied home was made from its own files.
    jobs = [
        json.loads(path.read_text()) for path in (home / "training/debug/registered_model").glob("*/job.json")
    ]
    assert str(home / "training/debug/sft") in " ".join(str(job["model_dir"]) for job in jobs)
