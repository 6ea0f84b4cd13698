"""What a terminal sees of a run, and what the run's own events say in the end."""

import io
import threading
import uuid
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console
from waiting import until

from pipelines.console import RunProgress, shown_live
from pipelines.run import report_of

CORPORA = dg.StaticPartitionsDefinition(["one", "two"])


class Terminal:
    """What a run printed."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        self.console = Console(file=self.text, width=120)

    def shows(self, words: str) -> bool:
        return words in self.text.getvalue()


def job(broken: bool = False) -> dg.JobDefinition:
    """Three assets: made, up to date for both corpora, and one in a pool that may fail."""

    @dg.asset
    def made() -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={"recomputed": True})

    @dg.asset
    def current(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        context.log.info("one: [bold] up to date, 3 rows")
        return dg.MaterializeResult(metadata={"recomputed_corpora": ""})

    @dg.asset(deps=[made, current], pool="gpu")
    def stage() -> None:
        if broken:
            raise ValueError("no device")

    return dg.Definitions(
        assets=[made, current, stage], jobs=[dg.define_asset_job("everything")]
    ).resolve_job_def("everything")


def watched(
    instance: dg.DagsterInstance, terminal: Terminal, broken: bool = False
) -> dg.ExecuteInProcessResult:
    """Execute the job, and show each of its events as it comes."""
    progress = RunProgress(terminal.console, 3, lambda pool: ["run-before"])
    run_id = str(uuid.uuid4())
    with shown_live(instance, run_id, progress):
        return job(broken).execute_in_process(instance=instance, run_id=run_id, raise_on_error=False)


def test_each_step_says_that_it_began_what_it_did_and_how_it_ended() -> None:
    terminal = Terminal()
    with dg.instance_for_test() as instance:
        report = report_of(watched(instance, terminal))
    for words in (
        "(3 of 3)",
        "> made",
        "one: [bold] up to date, 3 rows",
        "up to date, nothing recomputed",
        "done",
    ):
        assert terminal.shows(words), terminal.text.getvalue()
    assert (report.succeeded, report.failure) == (True, None)
    assert (sorted(report.recomputed), report.up_to_date) == (["made", "stage"], ["current"])


def test_a_failed_step_is_named_with_its_own_words() -> None:
    terminal = Terminal()
    with dg.instance_for_test() as instance:
        report = report_of(watched(instance, terminal, broken=True))
    assert terminal.shows("failed: stage")
    assert not report.succeeded
    assert report.failure is not None and "no device" in report.failure
    assert report.recomputed == ["made"]


def test_a_step_that_waits_for_a_pool_says_who_holds_it(tmp_path: Path) -> None:
    terminal = Terminal()
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        storage = instance.event_log_storage
        storage.set_concurrency_slots("gpu", 1)
        storage.claim_concurrency_slot("gpu", "run-before", "sft")
        run_id = "1" * 32
        progress = RunProgress(
            terminal.console, 3, lambda pool: sorted(storage.get_concurrency_info(pool).active_run_ids)
        )
        with shown_live(instance, run_id, progress):
            thread = threading.Thread(
                target=lambda: job().execute_in_process(instance=instance, run_id=run_id), daemon=True
            )
            thread.start()
            until(lambda: terminal.shows("stage: waiting for pool gpu, held by run-before"), "the line")
            storage.free_concurrency_slots_for_run("run-before")
            thread.join(timeout=180)
            assert not thread.is_alive()
        run = instance.get_run_by_id(run_id)
        assert run is not None and run.status == dg.DagsterRunStatus.SUCCESS


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_terminal_that_is_gone_ends_its_lines_and_not_the_run() -> None:
    def gone(_: dg.EventLogEntry) -> None:
        raise SystemExit(1)  # as rich does

    with dg.instance_for_test() as instance:
        run_id = str(uuid.uuid4())
        with shown_live(instance, run_id, gone):
            assert job().execute_in_process(instance=instance, run_id=run_id).success
