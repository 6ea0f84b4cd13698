"""Runs whose process was killed: marked failed, and their place in the pools given back.

Each run says in a tag which process it works in. Dagster's own monitoring knows only runs that never started: its
launcher does not watch the processes that it launches, and a run of ``voxline run`` is not launched at all.
"""

from __future__ import annotations

import logging
from pathlib import Path

import dagster as dg

from assets.processes import is_alive
from assets.running_servers import find_servers

PROCESS_TAG = "voxline/process"
_log = logging.getLogger(__name__)

# Runs that a process is at work on, and runs that will be: together, those that have not ended.
AT_WORK = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
UNFINISHED = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, *AT_WORK)


def release_dead_runs(instance: dg.DagsterInstance, home: Path) -> list[str]:
    """Fail the runs whose process is gone, and free the pool slots of every run that has ended.

    A run from the UI or the daemon that has not said yet in which process it works is dead unless the servers of this
    home live.

    Returns:
        Ids of the runs that were marked failed.
    """
    servers = find_servers(home)
    dead = []
    for run in instance.get_runs(dg.RunsFilter(statuses=list(AT_WORK))):
        process = run.tags.get(PROCESS_TAG, servers.process if servers else None)
        if process is None or not is_alive(process):
            instance.report_run_failed(
                run, f"process {process or 'of the run'} ended without a word: it was killed, or the machine"
            )
            dead.append(run.run_id)
    storage = instance.event_log_storage
    for run_id in storage.get_concurrency_run_ids():
        holder = instance.get_run_by_id(run_id)
        if holder is None or holder.is_finished:
            _log.info("freeing the pool slots of run %s", run_id)
            storage.free_concurrency_slots_for_run(run_id)
    return dead
