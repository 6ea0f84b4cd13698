"""Killed or out of room at any moment, the next run ends as an undisturbed one, and no row is blamed.

Some moments of each kind; tests/bench/kills.py goes through all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from robustness.sweep import Kind, can_mount, sweep

pytestmark = pytest.mark.slow
_QUICK = ("lj", "shards")


def swept(folder: Path, kind: Kind, points: int, first: int = 1) -> dict[str, Any]:
    found = sweep(folder.resolve(), kind, None, points, first, _QUICK)
    assert found["wrong"] == []
    return found


def test_a_killed_run_is_gone_on_with_to_the_same_lake(tmp_path: Path) -> None:
    swept(tmp_path, "kill group", points=3, first=90)


def test_a_killed_worker_changes_nothing(tmp_path: Path) -> None:
    swept(tmp_path, "kill worker", points=3)


@pytest.mark.parametrize(("kind", "points"), [("fill", 4), ("fill worker", 2)])
def test_a_full_disk_is_told_as_such_and_blamed_on_no_row(tmp_path: Path, kind: Kind, points: int) -> None:
    found = swept(tmp_path, kind, points)
    assert len(found["failed"]) >= points


@pytest.mark.parametrize(("kind", "points"), [("small disk", 3), ("full scratch", 1)])
def test_a_disk_that_is_really_full(tmp_path: Path, kind: Kind, points: int) -> None:
    if not can_mount():
        pytest.skip("this system lets nobody mount a small tmpfs")
    found = swept(tmp_path, kind, points)
    assert len(found["failed"]) >= points
