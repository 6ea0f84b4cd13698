"""A training stage on two ranks, and what is killed of it."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path
from typing import Any, Literal, get_args

import psutil
from waiting import until

Victim = Literal["rank 1", "rank 0", "torchrun", "supervisor", "everything in a save"]
VICTIMS: tuple[Victim, ...] = get_args(Victim)
_ENDS_WITHIN_S = 120.0
_SOON_S = 0.001


def newest(output: Path) -> int:
    """Steps that the last checkpoint has; 0 where there is none."""
    return max((int(path.name[5:]) for path in (output / "checkpoints").glob("step-*")), default=0)


def processes(stage: subprocess.Popen[Any]) -> dict[str, psutil.Process]:
    """The processes of a stage under its supervisor, by what they are."""
    found = {"supervisor": psutil.Process(stage.pid)}
    for process in found["supervisor"].children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # one that has ended since
            _sort_in(process, found)
    return found


def _sort_in(process: psutil.Process, found: dict[str, psutil.Process]) -> None:
    rank = process.environ().get("RANK")
    if rank is not None:
        found.setdefault(f"rank {rank}", process)  # what a rank starts comes after it, and has its variables
    elif any("torch.distributed.run" in part for part in process.cmdline()):
        found["torchrun"] = process


def kill(stage: subprocess.Popen[Any], victim: Victim, output: Path) -> int:
    """SIGKILL a part of a stage that trains, and wait until nothing of it is left; the supervisor's code."""
    tree = processes(stage)
    everything = [tree["supervisor"], *tree["supervisor"].children(recursive=True)]
    if victim == "everything in a save":
        until((output / "checkpoints" / ".saving").is_dir, "a save", every_s=_SOON_S)
        for process in everything:
            with contextlib.suppress(psutil.NoSuchProcess):  # a rank ends with its torchrun
                process.kill()
    else:
        tree[victim].kill()
    code = stage.wait(_ENDS_WITHIN_S)
    _, left = psutil.wait_procs(everything, timeout=_ENDS_WITHIN_S)
    assert not left, f"after {victim} was killed there are still {left}"
    return code
