"""Ranks that start warm: forks of one process that has imported everything and done nothing.

``python -m forked_ranks COUNT JOB.json`` trains a stage on them. By itself each would take eight seconds to import.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ports import HOST, free_port
from process_trees import end_tree

from training_jobs import train
from training_jobs.jobs import TrainJob, read_job
from training_jobs.reporting import Reporter

_TESTS = Path(__file__).parent


def fork_ranks(count: int, be_rank: Callable[[], None]) -> None:
    """Fork the ranks and wait for them; exits 1 where one of them did not end well."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed finds it out, and warns
    importlib.import_module("deepspeed")  # which a rank imports only once it is about to join the others
    port, started = free_port(), []
    for rank in range(count):
        process = os.fork()
        if process == 0:
            os.environ.update(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(count),
                LOCAL_WORLD_SIZE=str(count),
                MASTER_ADDR=HOST,
                MASTER_PORT=str(port),
            )
            be_rank()
            sys.exit()
        started.append(process)
    ended = [os.waitpid(process, 0)[1] for process in started]
    if any(ended):
        sys.exit(1)


def run_forking(module: str, *arguments: str, deadline_s: float) -> bytes:
    """Run a module whose ``main`` calls :func:`fork_ranks`; returns what its ranks have printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_TESTS.parent), str(_TESTS)])}
    command = [sys.executable, "-m", module, *arguments]
    ranks = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    try:
        said, _ = ranks.communicate(timeout=deadline_s)
        assert ranks.returncode == 0, command
    finally:
        end_tree(ranks)
    return said


def main() -> None:
    """Train the stage of a job."""
    count, job = int(sys.argv[1]), read_job(TrainJob, Path(sys.argv[2]))
    fork_ranks(count, lambda: train.run(job, Reporter(lambda line: None)))


if __name__ == "__main__":
    main()
