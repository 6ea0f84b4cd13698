"""Two runs over one lake at the same time, with somebody reading it: the same end as of one run, and no half files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from robustness.lakes import digest
from robustness.made import mixed_corpora

from assets.corpora.config import load_corpora
from pipelines.sql import query
from validation.lake import Lake
from validation.ledger import balance

pytestmark = pytest.mark.slow
_TESTS = Path(__file__).resolve().parents[1]
_BETWEEN_READS_S = 0.2  # of a run's some seconds; without, the reader takes as much as both runs
_PROGRAM = """
import sys
from assets.report import build
from robustness.data_steps import *

build.histograms_markdown = lambda *_: "drawn"  # most of a run's time
if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    run(Path(sys.argv[1]), Lake(sys.argv[2]), 1)
"""


def start(program: Path, corpora: Path, lake: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": f"{_TESTS.parent}{os.pathsep}{_TESTS}", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(program), str(corpora), str(lake)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def begin(runs: Sequence[subprocess.Popen[str]]) -> None:
    """Let them begin together, however long each took to import: else one may be done before the other begins."""
    for one in runs:
        assert one.stdout is not None and one.stdout.readline() == "ready\n", one.communicate()[0]
    for one in runs:
        assert one.stdin is not None
        one.stdin.write("begin\n")
        one.stdin.flush()


def test_two_runs_end_as_one_while_their_lake_is_read(tmp_path: Path) -> None:
    corpora, lake = mixed_corpora(tmp_path / "c", ("lj",)), tmp_path / "lake"
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM, encoding="utf-8")
    alone = start(program, corpora, lake)
    begin([alone])
    said, _ = alone.communicate(timeout=300)
    assert alone.returncode == 0, said
    expected = digest(lake)
    rows = query(Lake(str(lake)), "SELECT count(*) AS rows FROM ledger")["rows"].item()
    shutil.rmtree(lake)

    both = [start(program, corpora, lake) for _ in range(2)]
    read = 0
    try:
        begin(both)
        while any(one.poll() is None for one in both):
            found = query(
                Lake(str(lake)), "SELECT corpus, utterance_id, source, count(*) AS n FROM ledger GROUP BY ALL"
            )
            assert found.height <= rows and set(found["n"]) <= {1}
            read += 1
            with suppress(subprocess.TimeoutExpired):
                both[0].wait(_BETWEEN_READS_S)
        outputs = [one.communicate(timeout=300)[0] for one in both]
    finally:
        for one in both:
            one.kill()
    assert [one.returncode for one in both] == [0, 0], "\n".join(outputs)
    assert read > 1
    assert any("another run is at it" in output for output in outputs)
    found = digest(lake)
    assert {name for name in {*found, *expected} if found.get(name) != expected.get(name)} == set()
    for entry in load_corpora(corpora).corpora:
        assert balance(Lake(str(lake)), entry.name).holds
        lines = (lake / "jsonl" / entry.name / "train.jsonl").read_text("utf-8").splitlines()
        assert all(json.loads(line)["messages"] for line in lines)
