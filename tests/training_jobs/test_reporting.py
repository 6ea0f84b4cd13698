"""Who reports what: rank 0 to Dagster where Dagster is, everyone's faults to standard error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from dagster_pipes import encode_param

REPORT = "from training_jobs.reporting import reporter\nwith reporter() as report: report.log('halfway')"
FAIL = """
from pathlib import Path
from training_jobs.jobs import TokenizeJob
from training_jobs.program import program_main
def run(job, report):
    raise {error}
program_main(TokenizeJob, run)
"""


def run_python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
        timeout=120,
    )


def pipes_environment(messages: Path) -> dict[str, str]:
    context = {"asset_keys": ["a"], "extras": {}, "run_id": "r", "job_name": None, "retry_number": 0}
    missing = dict.fromkeys(
        ("code_version_by_asset_key", "provenance_by_asset_key", "partition_key", "partition_key_range"), None
    )
    data = {"data": context | missing | {"partition_time_window": None}}
    return {
        "DAGSTER_PIPES_CONTEXT": encode_param(data),
        "DAGSTER_PIPES_MESSAGES": encode_param({"path": str(messages)}),
    }


def test_only_rank_0_opens_pipes(tmp_path: Path) -> None:
    """Two reporters in one session fail the step."""
    for rank in ("0", "1"):
        messages = tmp_path / rank
        messages.touch()
        answer = run_python(REPORT, RANK=rank, WORLD_SIZE="2", **pipes_environment(messages))
        assert answer.returncode == 0, answer.stderr
        assert ("halfway" in answer.stderr) == (rank == "0")
    kinds = [json.loads(line)["method"] for line in (tmp_path / "0").read_text().splitlines()]
    assert kinds == ["opened", "log", "closed"]
    assert (tmp_path / "1").read_text() == ""


def test_without_dagster_progress_goes_to_the_log() -> None:
    answer = run_python(REPORT)
    assert answer.returncode == 0
    assert "halfway" in answer.stderr


def test_a_faulty_job_is_one_line_that_names_file_and_entry(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text('{"lake": "x", "corpora": [], "output_dir": "o", "tokenizer": 1}')
    answer = run_python(FAIL.format(error="AssertionError"), str(job))
    assert answer.returncode == 1
    assert "Traceback" not in answer.stderr
    last = answer.stderr.splitlines()[-1]
    assert "job.json" in last
    assert "tokenizer: Extra inputs are not permitted (got 1)" in last


def test_our_own_mistakes_have_a_traceback(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    job.write_text('{"lake": "x", "corpora": [], "output_dir": "o", "tokenizer_dir": "t"}')
    answer = run_python(FAIL.format(error="RuntimeError('shapes differ')"), str(job))
    assert answer.returncode == 1
    assert "Traceback" in answer.stderr
    assert answer.stderr.splitlines()[-1] == "RuntimeError: shapes differ"
