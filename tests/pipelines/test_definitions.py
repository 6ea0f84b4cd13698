"""The code location loads fast, without torch, and has the whole graph."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from pipelines.definitions import defs
from pipelines.settings import Settings, write_settings

_PROBE = """
import json, sys
import pipelines.definitions as d
definitions = d.defs()
jobs = sorted(job.name for job in definitions.resolve_all_job_defs() if not job.name.startswith("__"))
assets = sorted(key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys())
heavy = sorted(name for name in ("torch", "deepspeed", "transformers", "mlflow") if name in sys.modules)
print(json.dumps({"jobs": jobs, "assets": assets, "heavy": heavy}))
"""


def load(home: Path) -> tuple[dict[str, list[str]], float]:
    """What a fresh process finds in the code location of ``home``, and its processor time in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = subprocess.run(
        [sys.executable, "-c", _PROBE],
        env=os.environ | {"DAGSTER_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert answer.returncode == 0, answer.stderr
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return json.loads(answer.stdout), seconds


def test_the_code_location_loads_in_seconds_and_without_torch(tmp_path: Path) -> None:
    found, seconds = load(tmp_path)
    assert found["heavy"] == []
    assert found["jobs"] == ["benchmark_and_register", "everything", "prepare_data", "train_all_stages"]
    assert {"raw_utterances", "sft", "registered_model", "stage_packs"} <= set(found["assets"])
    # Processor time: the suite's other workers may hold all cores meanwhile.
    assert seconds < 5, f"took {seconds:.1f} s"


def test_a_root_that_is_not_mounted_does_not_take_the_code_location_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = {
        "name": "a",
        "reader": "librispeech",
        "root": "unmounted",
        "licence": "CC0-1.0",
        "language": "en",
    }
    (tmp_path / "corpora.yaml").write_text(yaml.safe_dump({"corpora": [corpus]}))
    write_settings(tmp_path, Settings(corpora=str(tmp_path / "corpora.yaml")))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    found = defs()
    assert isinstance(found, dg.Definitions)
    assert "everything" in {job.name for job in found.resolve_all_job_defs()}
