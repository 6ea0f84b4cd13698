"""The command lines by which assets start the programs of this package; imports nothing heavy."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from training_jobs.profile import ProgramLimits

CPU_PROCESSES = 2  # ranks where there is no GPU: enough that every collective is a real one


def program_command(
    program: str, job_file: Path, log: Path, limits: ProgramLimits, quiet: bool = False
) -> list[str]:
    """The supervised command of a program that runs as one process, such as ``pack`` or ``evaluate``.

    Args:
        program: Name of the module in ``training_jobs``.
        job_file: What to do; see :mod:`training_jobs.jobs`.
        log: Where the supervisor writes all output.
        limits: When the supervisor ends the program.
        quiet: Write output to the log only.
    """
    return supervised([sys.executable, "-m", f"training_jobs.{program}", str(job_file)], log, limits, quiet)


def train_command(
    job_file: Path,
    log: Path,
    processes: Literal["auto"] | int,
    limits: ProgramLimits,
    quiet: bool = False,
) -> list[str]:
    """The supervised command of a training stage: torchrun on this machine, one process per rank."""
    ranks = (gpu_count() or CPU_PROCESSES) if processes == "auto" else processes
    torchrun = ["torch.distributed.run", "--nproc-per-node", str(ranks), "--standalone"]
    # Its own patience with ranks that are asked to stop is 30 s, less than a step of a large model and its save.
    torchrun += ["--shutdown-timeout", str(math.ceil(limits.grace_s))]
    worker = ["--module", "training_jobs.train", str(job_file)]
    return supervised([sys.executable, "-m", *torchrun, *worker], log, limits, quiet)


def supervised(argv: Sequence[str], log: Path, limits: ProgramLimits, quiet: bool) -> list[str]:
    """``argv`` under :mod:`training_jobs.supervisor`."""
    options = ["--log", str(log), "--grace", f"{limits.grace_s:g}", "--stall", f"{limits.stall_s:g}"]
    if quiet:
        options.append("--quiet")
    return [sys.executable, "-m", "training_jobs.supervisor", *options, "--", *argv]


def gpu_count() -> int:
    """Number of GPUs this process may use, found without importing torch."""
    visible = visible_devices()
    if visible is not None:
        return len(visible)
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    answer = subprocess.run([program, "--list-gpus"], capture_output=True, text=True, check=False, timeout=60)
    return (
        sum(line.startswith("GPU ") for line in answer.stdout.splitlines()) if answer.returncode == 0 else 0
    )


def visible_devices() -> list[str] | None:
    """The devices that ``CUDA_VISIBLE_DEVICES`` names; ``None`` where it is not set."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return None
    devices = [device.strip() for device in value.split(",") if device.strip()]
    # CUDA stops reading at the first invalid entry; -1 is the usual way to hide every device.
    return devices[: devices.index("-1")] if "-1" in devices else devices
