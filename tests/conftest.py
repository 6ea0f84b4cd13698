"""What the slow suites share: one tiny trained pipeline, made once per session by the real command."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from faulty_proxy import proxy  # noqa: F401 - fixtures for all tests
from filelock import FileLock
from hypothesis import settings
from made_once import made_once
from s3_server import s3, s3_server  # noqa: F401

# There is a worker for each core: what they and the programs they start compute, they compute in one thread. Two would
# wait for each other by spinning: with three workers on two cores, that took ten times as much as the work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Hypothesis' own for such machines: the same examples each time, and none of them fails for the 200 ms that it took.
settings.load_profile("ci")
_UTTERANCES = 90
_OUTPUT = "output.txt"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deal out long files early, and such that no worker waits for the pipeline while another one makes it.

    One file that uses the pipeline comes first, and makes it; then the slow ones that do without, by which time it is
    there for the others; then the short ones, which fill up what is left.
    """
    using = list(dict.fromkeys(item.path for item in items if "pipeline" in _fixtures(item)))
    slow = {item.path for item in items if item.get_closest_marker("slow")}

    def turn(item: pytest.Item) -> int:
        if item.path in using:
            return 0 if item.path == using[0] else 2
        return 1 if item.path in slow else 3

    items.sort(key=turn)


def pytest_collection_finish() -> None:
    """What all modules have imported stays to the end: not looked through again, each time garbage is collected."""
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Give it back to the interpreter, which ends what it still holds."""
    gc.unfreeze()


def _fixtures(item: pytest.Item) -> list[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else []


@dataclass(frozen=True)
class Pipeline:
    """A home in which ``voxline run`` has been to the end with the debug profile."""

    home: Path
    corpora: Path
    output: str

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other process of the session runs anything in this home meanwhile, or copies it."""
        with FileLock(f"{self.home}.lock"):
            yield

    def voxline(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a voxline command in this home."""
        return voxline([*arguments, "--home", str(self.home)])


def voxline(arguments: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a voxline command as a user would, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        env=os.environ | {"COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def speak(directory: Path, utterances: int = _UTTERANCES) -> Path:
    """Sample corpora of about ``utterances`` utterances; returns their corpora file."""
    subprocess.run(
        [sys.executable, "-m", "assets.sample.speak", str(directory), "--utterances", str(utterances)],
        check=True,
    )
    return directory / "corpora.yaml"


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The one trained pipeline of the session, shared among xdist's workers."""
    root = made_once(tmp_path_factory, "pipeline", _run_pipeline)
    output = (root / _OUTPUT).read_text(encoding="utf-8")
    return Pipeline(root / "home", root / "sample" / "corpora.yaml", output)


def _run_pipeline(root: Path) -> None:
    corpora = speak(root / "sample")
    done = voxline(["run", "--corpora", str(corpora), "--profile", "debug", "--home", str(root / "home")])
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    (root / _OUTPUT).write_text(done.stdout, encoding="utf-8")


@pytest.fixture
def alone(pipeline: Pipeline) -> Iterator[None]:
    """For tests that run something in the home of the session's pipeline."""
    with pipeline.alone():
        yield
