"""``voxline up``: the Dagster UI with its daemon and the MLflow UI, on this machine only, until Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from training_jobs.jobs import Tracking

_log = logging.getLogger(__name__)
HOST = "127.0.0.1"
_READY_WITHIN_S = 180.0
_POLL_S = 0.25


class ServerError(RuntimeError):
    """A server that could not be started, or that ended by itself."""


@dataclass(frozen=True)
class Server:
    """One child of ``voxline up``."""

    name: str
    command: list[str]
    ready_url: str
    log: Path


def servers(home: Path, dagster_port: int, mlflow_port: int) -> list[Server]:
    """What is started: ``dagster dev`` (UI, daemon, code server) and the MLflow server."""
    logs = home / "logs"
    supervised = [sys.executable, "-m", "training_jobs.supervisor", "--"]
    dagster = [sys.executable, "-m", "dagster", "dev", "-m", "pipelines.definitions"]
    dagster += ["-h", HOST, "-p", str(dagster_port)]
    mlflow = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        HOST,
        "--port",
        str(mlflow_port),
        "--workers",
        "1",
    ]
    mlflow += ["--backend-store-uri", mlflow_store(home)]
    mlflow += ["--artifacts-destination", str(home / "mlartifacts")]
    return [
        Server(
            "dagster", supervised + dagster, f"http://{HOST}:{dagster_port}/server_info", logs / "dagster.log"
        ),
        Server("mlflow", supervised + mlflow, f"http://{HOST}:{mlflow_port}/health", logs / "mlflow.log"),
    ]


def prepare_stores(home: Path) -> None:
    """Make MLflow's tables before its server starts: the server would race with a run that makes them too."""
    from training_jobs.tracking_store import prepare_store

    prepare_store(Tracking(uri=mlflow_store(home), artifact_root=str(home / "mlartifacts"), tags={}))


def mlflow_store(home: Path) -> str:
    """The home's own MLflow store."""
    return f"sqlite:///{home}/mlflow.db"


def environment(home: Path, mlflow_port: int) -> dict[str, str]:
    """The children's environment."""
    return os.environ | {
        "DAGSTER_HOME": str(home),
        # Without these MLflow starts seven more processes and reports its use to its makers.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "VOXLINE_MLFLOW_URL": f"http://{HOST}:{mlflow_port}",
    }


def run_until_interrupted(
    wanted: list[Server], env: Mapping[str, str], ports: list[int], on_ready: object
) -> None:
    """Start the servers, call ``on_ready()`` once all answer, and stop all of them on Ctrl-C or SIGTERM.

    Raises:
        ServerError: if a port is taken, or a server ends or does not answer in time.
    """
    assert callable(on_ready)
    for port in ports:
        _require_free(port)
    children: list[tuple[Server, subprocess.Popen[bytes]]] = []

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # Set explicitly: a shell starts a background job with SIGINT ignored.
    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for server in wanted:
            server.log.parent.mkdir(parents=True, exist_ok=True)
            with server.log.open("wb") as log:
                # A session of its own: Ctrl-C reaches this process, which stops the children in order.
                child = subprocess.Popen(
                    server.command,
                    env=dict(env),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            children.append((server, child))
        _wait_ready(children)
        on_ready()
        while True:
            _require_alive(children)
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        _log.info("stopping")
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _stop([child for _, child in children])


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ServerError(f"port {port} on {HOST} is taken: {error.strerror}") from error


def _wait_ready(children: list[tuple[Server, subprocess.Popen[bytes]]]) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    for server, _ in children:
        while not _answers(server.ready_url):
            _require_alive(children)
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{server.name} does not answer {server.ready_url} within {_READY_WITHIN_S:.0f} s"
                )
            time.sleep(_POLL_S)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  (our own http:// address)
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def _require_alive(children: list[tuple[Server, subprocess.Popen[bytes]]]) -> None:
    for server, child in children:
        if child.poll() is not None:
            lines = server.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            raise ServerError(
                f"{server.name} ended with code {child.returncode}; its last lines:\n" + "\n".join(lines)
            )


def _stop(children: list[subprocess.Popen[bytes]]) -> None:
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
    for child in children:
        # The supervisor kills whatever is left after its grace period, so this ends.
        child.wait()
