"""Disturbs the data steps at the n-th thing that they do to the lake, runs them again, and compares what is there.

A sweep over all n, or every so-many, is a program: tests/bench/kills.py. A process that goes on from the last kill is
the one that is killed next, so that a point costs one start; workers are forks, for the same reason.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import polars as pl
from robustness.data_steps import run
from robustness.disturbance import Disturber
from robustness.made import mixed_corpora

from assets.audio import pool
from assets.report import build
from validation.errors import UserError
from validation.lake import Lake

Kind = Literal["kill group", "kill worker", "fill", "fill worker", "small disk", "full scratch"]
_DISKS = ("small disk", "full scratch")
# Mounts of its own, which end with it. Whoever is not root must be somebody else's root for that.
PRIVATE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-Urm"]
_WORKERS = 2
_TESTS = Path(__file__).resolve().parents[1]
_IMPORTED_FROM = (str(_TESTS.parent), str(_TESTS))
# Their times and counts of what was done now differ from run to run; nothing is made from those.
_OF_ITS_RUN = ("manifests/", "profiles/", "tables/ledger_history/")


class DisturbedError(AssertionError):
    """What differs from an undisturbed run."""


def digest(lake: Path) -> dict[str, str]:
    """Every file of the lake, by its path, with a digest of its bytes; those of a run's own time have none."""
    return {
        name: "" if name.startswith(_OF_ITS_RUN) else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(lake.rglob("*"))
        if path.is_file()
        for name in [path.relative_to(lake).as_posix()]
    }


def ends(lake: Path) -> set[tuple[str, str, str]]:
    """Corpus, id and reason of each row of the ledger."""
    found = set()
    for path in sorted((lake / "tables/ledger").glob("[!.]*.parquet")):
        found |= set(pl.read_parquet(path).select("corpus", "utterance_id", "reason").rows())
    return found


class Points:
    """In a process of a sweep: one lake, made anew for each point, and what an undisturbed run leaves in it.

    Args:
        folder: Holds the corpora; the lake is made in it, always at the same place, since rows name it.
    """

    def __init__(self, folder: Path, kind: Kind) -> None:
        self._corpora = folder / "corpora/corpora.yaml"
        self._kind = kind
        self._lake = folder / "lake"
        self._once = folder / "once"
        self._counted = folder / f"counted.{os.getpid()}"
        self._expected = folder / "expected.json"
        self._full = self._lake  # the folder without room, in a sweep of those
        self._disk: Disk | None = None
        does: Any = {"kill group": "kill group", "kill worker": "kill process"}.get(kind, "fill")
        self._disturber = Disturber(self._lake, does, self._once, None)
        build.histograms_markdown = lambda *_: "drawn"  # type: ignore[attr-defined]  # most of a run's time
        pool.get_context = lambda _: get_context("fork")  # type: ignore[attr-defined]
        if kind in _DISKS:
            self._full = self._lake if kind == "small disk" else folder / "scratch"
            self._disk = Disk(self._full)
            tempfile.tempdir = str(self._full) if kind == "full scratch" else None
        elif kind.endswith("worker"):
            globals()["_within"] = pool._within = _Within(self._disturber, folder)  # type: ignore[assignment]
        else:
            self._disturber.start()

    def undisturbed(self) -> None:
        """Run once, and count how many points there are."""
        self._run()
        if self._disk is not None:
            size = self._disk.used_kib if self._kind == "small disk" else 1
            self._counted.write_text(str(size), encoding="ascii")
        elif not self._kind.endswith("worker"):
            self._counted.write_text(str(self._disturber.count), encoding="ascii")
        kept = {"digest": digest(self._lake), "ends": sorted(ends(self._lake))}
        self._expected.write_text(json.dumps(kept), encoding="utf-8")

    def disturb(self, at: int) -> None:
        """Run from the start, disturbed: a kill ends this process here."""
        for inside in self._lake.glob("*"):  # not the lake itself, which may be a disk
            shutil.rmtree(inside)
        self._once.unlink(missing_ok=True)
        self._disturber.restart(at)
        if self._disk is not None:
            self._disk.resize(at)
        try:
            self._run()
            if self._kind == "kill worker":
                self._compare("although a worker was killed")
        except UserError as error:
            told = str(error)
            if str(self._full) not in told or "No space left on device" not in told:
                raise DisturbedError(f"a full disk is told as {told!r}") from error
            _say(failed=told)
        finally:
            self._disturber.restart(None)
            if self._disk is not None:
                self._disk.resize(None)

    def recover(self) -> None:
        """Run undisturbed over what is there, and compare."""
        kept = json.loads(self._expected.read_text("utf-8"))
        blamed = ends(self._lake) - {tuple(end) for end in kept["ends"]}
        if blamed:
            raise DisturbedError(f"a disturbance is blamed on rows: {sorted(blamed)}")
        self._run()
        self._compare("after the next run")

    def _run(self) -> None:
        run(self._corpora, Lake(str(self._lake)), _WORKERS)

    def _compare(self, when: str) -> None:
        expected, found = json.loads(self._expected.read_text("utf-8"))["digest"], digest(self._lake)
        other = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        if other:
            raise DisturbedError(f"{when}, these are other than undisturbed: {other}")


class Disk:
    """A file system in memory, mounted for this process and what it starts alone."""

    _ROOM = "256m"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._mount(self._ROOM)

    @property
    def used_kib(self) -> int:
        """What lies on it."""
        status = os.statvfs(self._folder)
        return (status.f_blocks - status.f_bfree) * status.f_frsize >> 10

    def resize(self, kib: int | None) -> None:
        """Make it as small as that, or large again."""
        self._mount(f"remount,size={kib}k" if kib else f"remount,size={self._ROOM}")

    def _mount(self, options: str) -> None:
        options = options if options.startswith("remount") else f"size={options}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(self._folder)], check=True)


class _Within:
    """In a worker: the pool's own function, with the disturbance in place since the first task."""

    def __init__(self, disturber: Disturber, folder: Path) -> None:
        self._disturber = disturber
        self._folder = folder
        self._really = pool._within

    def __reduce__(self) -> str:
        return "_within"  # workers are forks: they have the one that is here

    def __call__(self, *arguments: Any) -> Any:
        if self._disturber.take_over():
            self._disturber.start()
        done = self._really(*arguments)
        (self._folder / f"counted.{os.getpid()}").write_text(str(self._disturber.count), encoding="ascii")
        return done


def child(folder: Path, kind: Kind, do: list[str]) -> None:
    """A process of a sweep: what ``do`` says, in turn (``undisturbed``, ``recover``, a number)."""
    points = Points(folder, kind)
    for one in do:
        _say(doing=one)
        try:
            if one == "undisturbed":
                points.undisturbed()
            elif one == "recover":
                points.recover()
            else:
                points.disturb(int(one))
        except DisturbedError as error:
            _say(wrong=str(error))
    _say(doing="end")


def _say(**what: str) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def can_mount() -> bool:
    """Whether a process may have a file system of its own here."""
    probe = [*PRIVATE, "mount", "-t", "tmpfs", "none", os.fspath(_TESTS)]
    return (
        shutil.which("unshare") is not None
        and not subprocess.run(probe, capture_output=True, check=False).returncode
    )


def sweep(
    folder: Path, kind: Kind, every: int | None, points: int, first: int = 1, corpora: Sequence[str] = ()
) -> dict[str, Any]:
    """Disturb at these points; gives their number, how many there are, what runs failed with, and what went wrong.

    A point is a number of things done to the lake, or, of a small disk, its size in KiB.

    Args:
        every: Every so-many points; ``None``: ``points`` of them, evenly.
        corpora: Those that the steps run over; none: all.
    """
    mixed_corpora(folder / "corpora", corpora)
    wrong = _told(_child(folder, kind, ["undisturbed"]), [])
    events = max(int(path.read_text("ascii")) for path in folder.glob("counted.*"))
    failed: list[str] = []
    chosen = list(range(first, events + 1, every or max(events // points, 1)))
    if kind == "kill group":
        for number, at in enumerate(chosen):
            done = _child(folder, kind, [*(["recover"] if number else []), str(at)])
            was_killed = (folder / "once").exists()
            if done.returncode != (-signal.SIGKILL if was_killed else 0):
                wrong.append(f"at {at}: code {done.returncode}")
            wrong += _told(done, [chosen[number - 1], at], was_killed)
        wrong += _told(_child(folder, kind, ["recover"]), chosen[-1:])
    else:
        do = [step for at in chosen for step in (str(at), "recover")]
        done = _child(folder, kind, do)
        wrong += _told(done, [])
        failed = [line for line in done.stdout.splitlines() if line.startswith('{"failed"')]
    return {"kind": kind, "events": events, "points": len(chosen), "failed": failed, "wrong": wrong}


def _child(folder: Path, kind: Kind, do: list[str]) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys; from robustness.sweep import *; child(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])"
    )
    return subprocess.run(
        [*(PRIVATE if kind in _DISKS else []), sys.executable, "-c", program, str(folder), kind, *do],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(_IMPORTED_FROM)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        check=False,
    )


def _told(done: subprocess.CompletedProcess[str], about: list[int], killed: bool = False) -> list[str]:
    """What a process found wrong."""
    wrong, doing = [], ""
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            said = json.loads(line)
            doing = said.get("doing", doing)
            if "wrong" in said:
                wrong.append(f"{about} {doing}: {said['wrong']}")
    if doing != "end" and not killed:
        wrong.append(f"{about} {doing}: code {done.returncode}: {done.stdout[-3000:]}")
    return wrong
