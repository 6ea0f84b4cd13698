"""Two ranks' checkpoint is gone on with on one and on four, with the losses of two that nobody disturbed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from elastic_runs import SAVED_AFTER, SPECS, copied, run
from process_trees import end_tree

from training_jobs.distributed import joined

DEADLINE_S = 180.0
# Sums over other ranks are made in another order: the last digits of float32 differ.
TOLERANCE = 1e-5


def on_ranks(count: int, role: str, folder: Path) -> dict[str, list[float]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    tests = Path(__file__).parents[1]
    shared = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)]),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "elastic_runs", role, str(folder)],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
        )
        for rank in range(count)
    ]
    try:
        said, _ = ranks[0].communicate(timeout=DEADLINE_S)
        assert [rank.wait(DEADLINE_S) for rank in ranks] == [0] * count
    finally:
        for rank in ranks:
            end_tree(rank)
    losses: dict[str, list[float]] = json.loads(said.splitlines()[-1])
    return losses


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[float]]]:
    """Two ranks' checkpoints, and what their losses were after them."""
    folder = tmp_path_factory.mktemp("elastic") / "of_two"
    losses = on_ranks(2, "save", folder)
    assert all(own[-1] < own[0] for own in losses.values())
    return folder, {name: own[SAVED_AFTER:] for name, own in losses.items()}


@pytest.mark.slow
@pytest.mark.usefixtures("one_rank")
def test_on_one_rank_and_then_from_its_own(
    tmp_path: Path, of_two: tuple[Path, dict[str, list[float]]]
) -> None:
    folder, losses = of_two
    with joined(SPECS["sft"], 60.0) as world:
        found = run("twice", copied(folder, tmp_path / "on_one"), world)
    for name, own in losses.items():
        assert found[name] == pytest.approx(own, abs=TOLERANCE)
        assert not (tmp_path / "on_one" / name / ".converted").exists()


@pytest.mark.slow
def test_on_four_ranks(tmp_path: Path, of_two: tuple[Path, dict[str, list[float]]]) -> None:
    folder, losses = of_two
    found = on_ranks(4, "resume", copied(folder, tmp_path / "on_four"))
    for name, own in losses.items():
        assert found[name] == pytest.approx(own, abs=TOLERANCE)
