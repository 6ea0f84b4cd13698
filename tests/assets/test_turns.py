"""One run at a time works in a home."""

import subprocess
import sys
import threading
from pathlib import Path

import dagster as dg
from waiting import until

from assets.processes import own_process
from assets.recovery import PROCESS_TAG
from assets.turns import turn
from assets.workspace import Workspace

_HOLD = """
import sys
from pathlib import Path
from assets.turns import turn
with turn(Path(sys.argv[1]), "run-before", print):
    print("mine", flush=True)
    input()
"""


def holder(home: Path) -> subprocess.Popen[str]:
    """A process that has its turn in ``home`` until it gets a line."""
    command = [sys.executable, "-c", _HOLD, str(home)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "mine\n"
    return process


def materialize(home: Path, instance: dg.DagsterInstance, seen: list[str]) -> dg.ExecuteInProcessResult:
    """A run of one asset that notes what it sees."""

    @dg.asset
    def one(context: dg.AssetExecutionContext, workspace: Workspace) -> None:
        seen.append(context.run.run_id)

    return dg.materialize([one], instance=instance, resources={"workspace": Workspace(home=str(home))})


def test_a_second_run_waits_says_for_whom_and_then_works(tmp_path: Path) -> None:
    first = holder(tmp_path)
    seen: list[str] = []
    with dg.instance_for_test() as instance:
        thread = threading.Thread(target=materialize, args=(tmp_path, instance, seen))
        thread.start()
        until(lambda: "waiting for run run-before" in words(instance), "the run to say that it waits")
        assert seen == []
        first.communicate("\n")
        thread.join(timeout=180)
        assert not thread.is_alive()
        (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.SUCCESS
        assert seen == [run.run_id]


def words(instance: dg.DagsterInstance) -> str:
    return "\n".join(
        entry.user_message for run in instance.get_runs() for entry in instance.all_logs(run.run_id)
    )


def test_the_turn_of_a_killed_process_is_over_and_its_run_is_marked_failed(tmp_path: Path) -> None:
    first = holder(tmp_path)
    with dg.instance_for_test() as instance:
        dead = dg.DagsterRun(
            job_name="everything",
            run_id="0" * 32,
            status=dg.DagsterRunStatus.STARTED,
            tags={PROCESS_TAG: ended_process()},
        )
        instance.add_run(dead)
        first.kill()
        first.communicate()
        seen: list[str] = []
        assert materialize(tmp_path, instance, seen).success
        assert len(seen) == 1
        run = instance.get_run_by_id(dead.run_id)
        assert run is not None and run.status == dg.DagsterRunStatus.FAILURE
        assert f"run {dead.run_id} was killed before it ended" in words(instance)


def ended_process() -> str:
    say = "from assets.processes import own_process; print(own_process())"
    return subprocess.run(
        [sys.executable, "-c", say], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_run_says_in_which_process_it_works(tmp_path: Path) -> None:
    with dg.instance_for_test() as instance:
        materialize(tmp_path, instance, [])
        (run,) = instance.get_runs()
        assert run.tags[PROCESS_TAG] == own_process()


def test_turns_of_two_homes_have_nothing_to_do_with_each_other(tmp_path: Path) -> None:
    said: list[str] = []
    with turn(tmp_path / "one", "a", said.append), turn(tmp_path / "two", "b", said.append):
        assert said == []
