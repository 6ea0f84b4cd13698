"""Killed or out of room at any moment, the next run ends as an undisturbed one, and no row is blamed.

Some moments of each kind; tests/bench/kills.py goes through as many as are asked for.
"""

from __future__ import annotations

from typing import Any

import pytest
from robustness.disk import can_mount
from robustness.sweep import DISKS, Kind, sweep

pytestmark = pytest.mark.slow
_POINTS: dict[Kind, int] = {
    "kill group": 5,
    "kill worker": 1,
    "kill workers": 1,
    "fill": 2,
    "fill worker": 1,
    "small disk": 2,
    "full scratch": 2,
}
_FULL: tuple[Kind, ...] = ("fill", "fill worker", "small disk", "full scratch")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process found that went through all kinds."""
    kinds = {kind: count for kind, count in _POINTS.items() if kind not in DISKS or can_mount()}
    return sweep(tmp_path_factory.mktemp("swept").resolve(), kinds, ("lj",))


@pytest.mark.parametrize("kind", _POINTS)
def test_a_disturbed_run_is_gone_on_with_to_the_same_lake(swept: dict[str, Any], kind: Kind) -> None:
    if kind not in swept:
        pytest.skip("this system lets nobody mount a small tmpfs")
    assert swept[kind]["wrong"] == []
    assert swept[kind]["disturbed"] > 0
    # What a full disk is told as, the sweep itself looks at.
    assert bool(swept[kind]["failed"]) == (kind in _FULL)


def test_a_killed_request_to_forget_is_done_again_to_the_same_end(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("forgetting").resolve()
    found = sweep(folder, {"kill group": 4}, ("people",), "forgetting", "forget")["kill group"]
    assert found["wrong"] == []
    assert found["disturbed"] == found["points"] == 4
