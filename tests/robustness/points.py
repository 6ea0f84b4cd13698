"""The process of a sweep: it has imported everything, and is forked for each run, so that a point costs one step.

An undisturbed run leaves a copy of the home before each of its steps. A point is then a fork that does one step over
such a copy, and is disturbed in it; and another that does what the next run does, from its first step up to that one.
What it leaves must be what the undisturbed run left there. Some points go on to the end, and the last one does.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

from robustness.courses import Course, steps_of
from robustness.disk import PAGE_KIB, Disk, used_kib
from robustness.disturbance import Disturber, Does, count_in_workers, counted
from robustness.forks import adopt_orphans, in_fork
from robustness.lakes import digest, ends
from robustness.sweep import DISKS, Kind

from assets.audio import pool
from assets.report import build
from validation.errors import UserError

_IN_WORKERS: tuple[Kind, ...] = ("kill worker", "kill workers", "fill worker")
_TO_END = 10  # one of so many points


class DisturbedError(AssertionError):
    """What differs from an undisturbed run."""


@dataclass(frozen=True)
class Point:
    """Where a run is disturbed.

    Attributes:
        step: The number of the step.
        at: The event of the step, counted from one; of a disk, its size in KiB.
        to_end: Whether the next run goes on to the end.
    """

    step: int
    at: int
    to_end: bool = False


class Sweeper:
    """Runs of one course in one home.

    Args:
        folder: Holds the corpora; the home is made in it, always at the same place, since rows name it.
    """

    def __init__(self, folder: Path, course: Course) -> None:
        self._course: Course = course
        self._corpora = folder / "corpora/corpora.yaml"
        self._folder = folder
        self._home = folder / "home"
        self._scratch = folder / "scratch"
        self._copies = folder / "copies"
        self._once = folder / "once"
        self._told = folder / "told.json"
        self._home.mkdir()
        self._copies.mkdir()
        self._undisturbed: list[dict[str, Any]] = []

    def undisturbed(self) -> None:
        """Run once, and import here whatever that took."""
        code, told = in_fork(self._run_undisturbed, self._told)
        if code:
            raise DisturbedError(f"undisturbed: code {code}: {told}")
        self._undisturbed, modules = told
        for name in modules:
            if name not in sys.modules:
                importlib.import_module(name)

    def points(self, kind: Kind, count: int | None, within: str) -> list[Point]:
        """So many points, spread evenly; ``None``: all.

        Args:
            within: What the name of a step must have in it.
        """
        every = [point for point in self._every(kind) if within in self._undisturbed[point[0]]["name"]]
        count = len(every) if count is None else min(count, len(every))
        chosen = [every[(2 * number + 1) * len(every) // (2 * count)] for number in range(count)]
        return [Point(step, at, (count - place) % _TO_END == 1) for place, (step, at) in enumerate(chosen)]

    def sweep(self, kind: Kind, points: list[Point]) -> dict[str, Any]:
        """Go through the points; gives what was seen of them."""
        wrong: list[str] = []
        failed: list[str] = []
        disturbed, before = 0, _cpu_s()
        with ExitStack() as stack:
            disk = stack.enter_context(self._disk(kind)) if kind in DISKS else None
            for point in points:
                try:
                    happened, told = self._at(kind, point, disk)
                except DisturbedError as error:
                    wrong.append(f"{self._undisturbed[point.step]['name']} at {point.at}: {error}")
                    continue
                disturbed += happened
                if told is not None:
                    failed.append(f"{self._undisturbed[point.step]['name']} at {point.at}: {told}")
        counts = {"points": len(points), "disturbed": disturbed, "steps": len({one.step for one in points})}
        return {**counts, "cpu_s": round(_cpu_s() - before, 1), "failed": failed, "wrong": wrong}

    @contextmanager
    def _disk(self, kind: Kind) -> Iterator[Disk]:
        if kind == "small disk":
            with Disk(self._home) as disk:
                yield disk
        else:
            with Disk(self._scratch) as disk:
                (self._scratch / "filler").write_bytes(bytes(PAGE_KIB << 10))  # no disk is of no size
                yield disk

    def _every(self, kind: Kind) -> Iterator[tuple[int, int]]:
        for step, one in enumerate(self._undisturbed):
            if kind == "small disk":
                for kib in range(one["kib"] + PAGE_KIB, one["kib_after"] + 1, PAGE_KIB):
                    yield step, kib
            elif kind == "full scratch":
                yield step, PAGE_KIB  # which the filler takes
            else:
                for at in range(1, one["in_worker" if kind in _IN_WORKERS else "events"] + 1):
                    yield step, at

    def _at(self, kind: Kind, point: Point, disk: Disk | None) -> tuple[bool, str | None]:
        self._restore(point.step)
        if disk is not None:
            disk.resize(point.at)
        code, told = in_fork(lambda: self._disturbed(kind, point), self._told)
        if disk is not None:
            disk.resize(None)
        happened = self._once.exists() or (disk is not None and told is not None)
        wanted = -signal.SIGKILL if kind == "kill group" and happened else 0
        if code != wanted:
            raise DisturbedError(f"disturbed: code {code}: {told}")
        if kind == "kill worker":
            self._compare(point.step, "although a worker was killed", leftovers=True)
        # A recording that ends its process each time is at fault, until it does not.
        blames = kind != "kill workers"
        code, more = in_fork(lambda: self._next_run(point, blames), self._told)
        if code:
            raise DisturbedError(f"the next run: code {code}: {more}")
        return happened, told

    def _disturbed(self, kind: Kind, point: Point) -> str | None:
        does: Does = "fill" if kind in ("fill", "fill worker") else "kill process"
        does = "kill group" if kind == "kill group" else does
        disturber = Disturber(self._home, does, self._once, point.at, always=kind == "kill workers")
        full = self._scratch if kind == "full scratch" else self._home
        if kind in _IN_WORKERS:
            count_in_workers(disturber, self._folder)
        elif kind == "full scratch":
            tempfile.tempdir = str(full)
        elif kind != "small disk":
            disturber.start()
        try:
            self._steps()[point.step].do()
        except UserError as error:
            told = str(error)
            if str(full) not in told or "No space left on device" not in told:
                raise DisturbedError(f"a full disk is told as {told!r}") from error
            return told
        return None

    def _next_run(self, point: Point, blames: bool) -> None:
        whole = {0, max(point.step - 1, 0), point.step, len(self._undisturbed) - 1}
        known = {tuple(end) for step in whole for end in self._undisturbed[step]["ends"]}
        if blames and (blamed := ends(self._home / "lake") - known):
            raise DisturbedError(f"a disturbance is blamed on rows: {sorted(blamed)}")
        steps = self._steps()
        last = len(steps) - 1 if point.to_end else point.step
        for step in steps[steps[point.step].since : last + 1]:
            step.do()
        self._compare(last, "after the next run")

    def _compare(self, step: int, when: str, leftovers: bool = False) -> None:
        expected, found = self._undisturbed[step]["digest"], digest(self._home)
        other = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        if leftovers:  # they go with the next step
            other = [name for name in other if not name.startswith("lake/.tmp/")]
        if other:
            raise DisturbedError(f"{when}, these are other than undisturbed: {other}")

    def _restore(self, step: int) -> None:
        """The home as it was before a step."""
        self._once.unlink(missing_ok=True)
        for inside in self._home.iterdir():  # not the home itself, which may be a disk
            shutil.rmtree(inside) if inside.is_dir() else inside.unlink()
        shutil.copytree(self._copies / str(step), self._home, dirs_exist_ok=True)

    def _run_undisturbed(self) -> tuple[list[dict[str, Any]], list[str]]:
        found = []
        disturber = Disturber(self._home, "fill", self._once, None)
        count_in_workers(Disturber(self._home, "fill", self._once, None), self._folder)
        disturber.start()
        for number, step in enumerate(self._steps()):
            shutil.copytree(self._home, self._copies / str(number))
            kib = used_kib(self._home)
            disturber.restart(None)
            step.do()
            found.append(
                {
                    "name": step.name,
                    "events": disturber.count,
                    "in_worker": counted(self._folder),
                    "kib": kib,
                    "kib_after": used_kib(self._home),
                    "digest": digest(self._home),
                    "ends": sorted(ends(self._home / "lake")),
                }
            )
        # What has no spec was not imported: Cython keeps a namespace of its own under the modules.
        imported = {name for name, module in sys.modules.items() if getattr(module, "__spec__", None)}
        return found, sorted(imported)

    def _steps(self) -> list[Any]:
        return steps_of(self._course, self._corpora, self._home)


def _cpu_s() -> float:
    """What this process and its forks have taken."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main() -> None:
    """As told by ``FOLDER COURSE WITHIN KIND=COUNT…``: writes ``FOLDER/found.json``."""
    folder, course, within = Path(sys.argv[1]), cast(Course, sys.argv[2]), sys.argv[3]
    asked = [(cast(Kind, kind), count) for kind, _, count in (word.rpartition("=") for word in sys.argv[4:])]
    build.histograms_markdown = lambda *_: "drawn"  # type: ignore[attr-defined]  # most of a run's time
    pool.get_context = lambda _: get_context("fork")  # type: ignore[attr-defined]
    # What a killed process has written, the kernel has: only a power failure would lose it.
    os.fsync, os.sync = (lambda _: None), (lambda: None)
    adopt_orphans()
    sweeper = Sweeper(folder, course)
    sweeper.undisturbed()
    found = {}
    for kind, count in asked:
        points = sweeper.points(kind, int(count) if count != "all" else None, within)
        found[kind] = sweeper.sweep(kind, points)
    (folder / "found.json").write_text(json.dumps(found), encoding="utf-8")
