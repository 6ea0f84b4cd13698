"""The command lines by which assets start the programs of this package; imports nothing heavy.

``python -m training_jobs.launch JOB.json`` starts a stage's command on another machine: with
``$VOXLINE_NNODES`` of them, it is to be run on all but the one whose asset has written ``JOB.json``.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from training_jobs.jobs import TrainJob, read_job
from training_jobs.nodes import nodes_of
from training_jobs.profile import ProgramLimits
from training_jobs.spec import StageSpec
from validation.errors import UserError

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
    job_file: Path, log: Path, processes: int, limits: ProgramLimits, quiet: bool = False
) -> list[str]:
    """The supervised command of a training stage: torchrun, one process per rank, on one machine or several.

    Args:
        job_file: as above; several machines must see it under the same path.
        log: as above.
        processes: Ranks on each machine; see :func:`ranks_per_node`.
        limits: as above.
        quiet: as above.

    Raises:
        ConfigurationError: if the environment says something of the machines that cannot be.
    """
    nodes = nodes_of()
    # Its own patience with ranks that are asked to stop is 30 s, less than a step of a large model and its save.
    patience = str(math.ceil(limits.grace_s))
    # The directory is named after what the stage is made from: no other stage's launchers come to the same meeting.
    options = [*nodes.torchrun_options(job_file.resolve().parent.name), "--shutdown-timeout", patience]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), *options]
    worker = ["--module", "training_jobs.train", str(job_file)]
    return supervised([*nodes.start, sys.executable, *torchrun, *worker], log, limits, quiet)


def ranks_per_node(spec: StageSpec) -> int:
    """Ranks of a stage on each machine: as its spec says, or as many as there are GPUs for.

    Without a GPU, two. Fewer where the rows of a step cannot be dealt out evenly to so many.

    Raises:
        ConfigurationError: if they cannot be dealt out at all, or not to the spec's own number of ranks.
    """
    nodes = nodes_of().count
    most = available_ranks() if spec.processes == "auto" else spec.processes
    fitting = [ranks for ranks in range(1, most + 1) if ranks * nodes in spec.world_sizes()]
    if not fitting or (spec.processes != "auto" and fitting[-1] != spec.processes):
        spec.accumulation(most * nodes)
    return fitting[-1]


def available_ranks() -> int:
    """Ranks that this machine has room for."""
    return gpu_count() or CPU_PROCESSES


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Become a stage's command on this machine, with a log of its own beside the job's file."""
    parser = argparse.ArgumentParser(prog="python -m training_jobs.launch", description=__doc__)
    parser.add_argument(
        "job", type=Path, help="job.json of the stage, under the path that all machines have it"
    )
    path = parser.parse_args(arguments).job
    try:
        job = read_job(TrainJob, path)
        log = path.parent / f"log-{socket.gethostname()}.txt"
        command = train_command(path, log, ranks_per_node(job.spec), job.limits)
    except (UserError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted: the words are our own


if __name__ == "__main__":
    main()
