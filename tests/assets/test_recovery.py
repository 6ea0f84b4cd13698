"""Runs that were killed hold neither the pool nor the home for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.processes import is_alive, own_process
from assets.recovery import PROCESS_TAG, release_dead_runs
from assets.running_servers import announce_servers, find_servers

_SAY_WHO = "from assets.processes import own_process; print(own_process(), flush=True); input()"


@pytest.fixture
def other() -> Iterator[subprocess.Popen[str]]:
    """A process that waits for a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", _SAY_WHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def name_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def dead(other: subprocess.Popen[str]) -> str:
    """The name of a process that has ended."""
    name = name_of(other)
    other.communicate("\n")
    return name


def started_run(instance: dg.DagsterInstance, number: str, process: str | None) -> str:
    run_id = number * 32
    tags = {} if process is None else {PROCESS_TAG: process}
    run = dg.DagsterRun(job_name="everything", run_id=run_id, status=dg.DagsterRunStatus.STARTED, tags=tags)
    instance.add_run(run)
    return run_id


def test_a_process_is_alive_until_it_ends_and_never_another_with_its_number(dead: str) -> None:
    assert is_alive(own_process())
    assert not is_alive(dead)
    host, number, began = own_process().rsplit(":", 2)
    assert not is_alive(f"{host}:{number}:{began}0")
    assert is_alive(f"elsewhere:{number}:{began}0")


def test_a_killed_process_that_nobody_has_waited_for_is_dead(other: subprocess.Popen[str]) -> None:
    name = name_of(other)
    assert is_alive(name)
    other.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and stays a zombie
    assert not is_alive(name)


def test_a_process_keeps_its_name_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    name = own_process()
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: 0.0, raising=False)
    assert own_process() == name
    assert is_alive(name)


def test_a_killed_run_fails_and_frees_its_slot_and_a_living_one_keeps_its_own(
    tmp_path: Path, dead: str
) -> None:
    with dg.instance_for_test() as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("gpu", 2)
        killed, living = started_run(instance, "0", dead), started_run(instance, "1", own_process())
        for run_id in (killed, living):
            assert storage.claim_concurrency_slot("gpu", run_id, "sft").is_claimed
        assert release_dead_runs(instance, tmp_path) == [killed]
        statuses = [run.status for run_id in (killed, living) if (run := instance.get_run_by_id(run_id))]
        assert statuses == [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.STARTED]
        assert storage.get_concurrency_run_ids() == {living}


def test_a_run_that_never_said_where_it_works_lives_as_long_as_the_servers_do(
    tmp_path: Path, dead: str
) -> None:
    with dg.instance_for_test() as instance:
        run_id = started_run(instance, "0", None)
        announce_servers(tmp_path, 3000)
        assert release_dead_runs(instance, tmp_path) == []
        (tmp_path / ".servers.json").write_text(f'{{"process": "{dead}", "dagster_port": 3000}}')
        assert release_dead_runs(instance, tmp_path) == [run_id]


def test_servers_are_found_while_their_process_lives(tmp_path: Path, dead: str) -> None:
    assert find_servers(tmp_path) is None
    announce_servers(tmp_path, 3456)
    found = find_servers(tmp_path)
    assert found is not None and found.dagster_port == 3456
    (tmp_path / ".servers.json").write_text(f'{{"process": "{dead}", "dagster_port": 3456}}')
    assert find_servers(tmp_path) is None
