"""Disturbs a course of steps at many points, runs it again after each, and compares what is there.

``tests/bench/kills.py`` is the program for a wide sweep. What a point is, :mod:`robustness.points` says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from robustness.disk import PRIVATE, can_mount
from robustness.made import mixed_corpora

Kind = Literal[
    "kill group", "kill worker", "kill workers", "fill", "fill worker", "small disk", "full scratch"
]
DISKS: tuple[Kind, ...] = ("small disk", "full scratch")  # of those, real ones
_TESTS = Path(__file__).resolve().parents[1]
_PROGRAM = (
    "from robustness.points import main; main()"  # workers find it by that name, and not as a main program
)


class SweepError(AssertionError):
    """A sweep that ended before its points."""


def sweep(
    folder: Path,
    kinds: Mapping[Kind, int | None],
    corpora: Sequence[str] = (),
    course: str = "data steps",
    within: str = "",
) -> dict[str, Any]:
    """By kind: the number of points, of those that disturbed a run, what runs failed with, and what went wrong.

    Args:
        folder: An empty one; may hold some hundred small files.
        kinds: Points of each kind, spread evenly; ``None``: all. ``kill group`` ends a run with its workers; ``kill
            worker`` one worker, once, and ``kill workers`` each that comes as far; ``fill`` lets the run, or a worker,
            find the disk full from there on; ``small disk`` is a real one with the home, ``full scratch`` one with
            its temporary files.
        corpora: Those of :mod:`robustness.made` that the steps run over; none: all.
        within: What the name of a step must have in it to be disturbed.
    """
    mixed_corpora(folder / "corpora", corpora)
    asked = [f"{kind}={'all' if count is None else count}" for kind, count in kinds.items()]
    log = folder / "log.txt"
    with log.open("wb") as stream:
        done = subprocess.run(
            [
                *(PRIVATE if can_mount() else []),
                sys.executable,
                "-c",
                _PROGRAM,
                str(folder),
                course,
                within,
                *asked,
            ],
            env={**os.environ, "PYTHONPATH": f"{_TESTS.parent}{os.pathsep}{_TESTS}"},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            check=False,
        )
    if done.returncode:
        raise SweepError(f"code {done.returncode}: {log.read_text('utf-8', 'replace')[-3000:]}")
    found: dict[str, Any] = json.loads((folder / "found.json").read_text("utf-8"))
    return found
