"""Runs that were killed do not hold the pool for ever."""

from __future__ import annotations

import subprocess
import sys

import dagster as dg

from pipelines.recovery import PROCESS_TAG, is_alive, own_process, release_dead_runs

_SAY_WHO = "from pipelines.recovery import own_process; print(own_process())"


def dead_process() -> str:
    """The name of a process that has ended."""
    return subprocess.run(
        [sys.executable, "-c", _SAY_WHO], capture_output=True, text=True, check=True
    ).stdout.strip()


def started_run(instance: dg.DagsterInstance, number: str, process: str) -> str:
    run_id = number * 32
    instance.add_run(
        dg.DagsterRun(
            job_name="everything",
            run_id=run_id,
            status=dg.DagsterRunStatus.STARTED,
            tags={PROCESS_TAG: process},
        )
    )
    return run_id


def test_a_process_is_alive_until_it_ends_and_never_another_with_its_number() -> None:
    assert is_alive(own_process())
    assert not is_alive(dead_process())
    host, number, _ = own_process().rsplit(":", 2)
    assert not is_alive(f"{host}:{number}:1.00")
    assert is_alive(f"elsewhere:{number}:1.00")


def test_a_killed_run_fails_and_frees_its_slot_and_a_living_one_keeps_its_own() -> None:
    with dg.instance_for_test() as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("gpu", 2)
        killed, living = started_run(instance, "0", dead_process()), started_run(instance, "1", own_process())
        for run_id in (killed, living):
            assert storage.claim_concurrency_slot("gpu", run_id, "sft").is_claimed
        assert release_dead_runs(instance) == [killed]
        statuses = [run.status for run_id in (killed, living) if (run := instance.get_run_by_id(run_id))]
        assert statuses == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED]
        assert storage.get_concurrency_run_ids() == {living}
