"""Runs whose process was killed: marked failed, and their place in the pools given back.

Dagster's daemon watches the runs that it launched; a run of ``voxline run`` lives in the command's own process, so it
says in a tag which process that is.
"""

from __future__ import annotations

import logging
import os
import socket

import dagster as dg
import psutil

PROCESS_TAG = "voxline/process"
_log = logging.getLogger(__name__)
_UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def own_process() -> str:
    """This process's name: host, process id, and when it began, since ids are used again."""
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def is_alive(process: str) -> bool:
    """Whether the process that :func:`own_process` named still runs; one of another host is taken to."""
    host, number, began = process.rsplit(":", 2)
    if host != socket.gethostname():
        return True
    try:
        return f"{psutil.Process(int(number)).create_time():.2f}" == began
    except psutil.NoSuchProcess:
        return False


def release_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Fail the runs whose process is gone, and free the pool slots of every run that has ended.

    Returns:
        Ids of the runs that were marked failed.
    """
    dead = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        process = run.tags.get(PROCESS_TAG)
        if process is not None and not is_alive(process):
            instance.report_run_failed(
                run, f"process {process} ended without a word: it was killed, or the machine"
            )
            dead.append(run.run_id)
    storage = instance.event_log_storage
    for run_id in storage.get_concurrency_run_ids():
        holder = instance.get_run_by_id(run_id)
        if holder is None or holder.is_finished:
            _log.info("freeing the pool slots of run %s", run_id)
            storage.free_concurrency_slots_for_run(run_id)
    return dead
