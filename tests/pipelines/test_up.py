"""Servers that cannot start, or end by themselves, say so; one home has one set of them."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import dagster as dg
import psutil
import pytest
from ports import free_port
from rich.console import Console

from assets.recovery import PROCESS_TAG
from assets.running_servers import RunningServers, announce_servers
from pipelines import servers as module
from pipelines.servers import HOST, Server, ServerError, run_until_interrupted
from pipelines.settings import prepare_home
from pipelines.up import own_store, reload_code_location, serve

_ANSWER = """
import http.server, sys
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def server(tmp_path: Path, name: str, code: str) -> Server:
    port = free_port()
    command = [sys.executable, "-c", code, str(port)]
    return Server(name, command, port, f"http://{HOST}:{port}/", tmp_path / "logs" / f"{name}.log")


def answering(tmp_path: Path, name: str) -> Server:
    return server(tmp_path, name, _ANSWER)


def nothing() -> None:
    pass


def test_a_taken_port_is_named_and_nothing_is_started(tmp_path: Path) -> None:
    wanted = answering(tmp_path, "pages")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((HOST, wanted.port))
        taken.listen()
        with pytest.raises(ServerError, match=f"port {wanted.port} on {HOST} is taken"):
            run_until_interrupted([wanted], os.environ, nothing, nothing)
    assert not wanted.log.exists()


def test_a_server_that_dies_at_once_shows_its_last_lines_and_takes_the_other_down(tmp_path: Path) -> None:
    good = answering(tmp_path, "good")
    bad = server(tmp_path, "bad", "import sys; sys.exit('no such table')")
    with pytest.raises(ServerError, match=r"bad ended with code 1; its last lines:\nno such table"):
        run_until_interrupted([good, bad], os.environ, nothing, nothing)
    assert not children_with(good.port)


def test_a_server_that_dies_later_ends_all(tmp_path: Path) -> None:
    good, other = answering(tmp_path, "good"), answering(tmp_path, "other")

    def kill_one() -> None:
        (victim,) = children_with(other.port)
        victim.kill()

    with pytest.raises(ServerError, match="other ended with code -9"):
        run_until_interrupted([good, other], os.environ, kill_one, nothing)
    assert not children_with(good.port)


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READY_WITHIN_S", 0.5)
    deaf = server(tmp_path, "deaf", "import signal; signal.pause()")
    with pytest.raises(ServerError, match=r"deaf does not answer http://.* within 0 s"):
        run_until_interrupted([deaf], os.environ, nothing, nothing)
    assert not children_with(deaf.port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_all_servers_and_is_no_error(tmp_path: Path, number: signal.Signals) -> None:
    good = answering(tmp_path, "good")
    before = signal.getsignal(number)
    run_until_interrupted([good], os.environ, lambda: os.kill(os.getpid(), number), nothing)
    assert not children_with(good.port)
    assert signal.getsignal(number) is before


def test_the_watch_is_called_while_the_servers_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WATCH_S", 0.0)
    good = answering(tmp_path, "good")
    run_until_interrupted([good], os.environ, nothing, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert not children_with(good.port)


def children_with(port: int) -> list[psutil.Process]:
    """Living child processes that were told this port."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended since
            if child.status() != psutil.STATUS_ZOMBIE and str(port) in child.cmdline():
                found.append(child)
    return found


def test_a_home_gets_no_second_daemon(tmp_path: Path) -> None:
    announce_servers(tmp_path, 3456)
    with pytest.raises(ServerError, match=f"the servers of {tmp_path} run already, Dagster on .*:3456"):
        serve(tmp_path, free_port(), free_port(), own_store(tmp_path), Console())


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[list[Server]]:
    """What would have been started."""
    started: list[list[Server]] = []

    def run(wanted: list[Server], *_: object) -> None:
        started.append(wanted)

    monkeypatch.setattr("pipelines.up.run_until_interrupted", run)
    return started


@pytest.mark.parametrize(
    ("uri", "names"), [(None, ["dagster", "mlflow"]), ("http://tracking.example:5000", ["dagster"])]
)
def test_an_external_tracking_server_is_not_shadowed_by_one_of_ours(
    tmp_path: Path, served: list[list[Server]], uri: str | None, names: list[str]
) -> None:
    prepare_home(tmp_path)
    serve(tmp_path, 3456, 5678, uri or own_store(tmp_path), Console())
    assert [one.name for one in served[0]] == names
    assert (tmp_path / "mlflow.db").exists() == (uri is None)


def test_runs_that_were_killed_before_are_marked_failed(tmp_path: Path, served: list[list[Server]]) -> None:
    prepare_home(tmp_path)
    run = dg.DagsterRun(job_name="everything", run_id="0" * 32, status=dg.DagsterRunStatus.STARTED)
    assert PROCESS_TAG not in run.tags  # from the UI, and killed with it
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        instance.add_run(run)
        serve(tmp_path, 3456, 5678, "http://tracking.example:5000", Console())
        found = instance.get_run_by_id(run.run_id)
        assert found is not None and found.status == dg.DagsterRunStatus.FAILURE


def test_pages_that_do_not_answer_are_to_be_reloaded_by_hand() -> None:
    said = reload_code_location(RunningServers("elsewhere:1:2", free_port()))
    assert "still show the corpora that they were started with" in said
