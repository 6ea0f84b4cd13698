"""The Dagster and MLflow servers as child processes: started together, watched, and stopped together."""

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from validation.errors import UserError

_log = logging.getLogger(__name__)
HOST = "127.0.0.1"
CODE_LOCATION = "pipelines.definitions"
_READY_WITHIN_S = 180.0
_POLL_S = 0.25
_WATCH_S = 10.0


class ServerError(UserError):
    """A server that could not be started, or that ended by itself."""


@dataclass(frozen=True)
class Server:
    """One child of ``voxline up``."""

    name: str
    command: list[str]
    port: int
    ready_url: str
    log: Path


def dagster_server(home: Path, port: int) -> Server:
    """``dagster dev``: UI, daemon and code server."""
    command = [sys.executable, "-m", "dagster", "dev", "-m", CODE_LOCATION, "-h", HOST, "-p", str(port)]
    return _supervised(home, "dagster", command, port, "server_info")


def mlflow_server(home: Path, port: int, store: str) -> Server:
    """The MLflow server over the home's own ``store``."""
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        HOST,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += ["--backend-store-uri", store]
    command += ["--artifacts-destination", str(home / "mlartifacts")]
    return _supervised(home, "mlflow", command, port, "health")


def _supervised(home: Path, name: str, command: list[str], port: int, ready: str) -> Server:
    supervised = [sys.executable, "-m", "training_jobs.supervisor", "--", *command]
    return Server(name, supervised, port, f"http://{HOST}:{port}/{ready}", home / "logs" / f"{name}.log")


def environment(home: Path) -> dict[str, str]:
    """The children's environment."""
    return os.environ | {
        "DAGSTER_HOME": str(home),
        # Without these MLflow starts seven more processes and reports its use to its makers.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }


def run_until_interrupted(
    wanted: list[Server], env: Mapping[str, str], on_ready: Callable[[], None], watch: Callable[[], object]
) -> None:
    """Start the servers, and stop all of them on Ctrl-C or SIGTERM.

    Args:
        on_ready: called once all servers answer.
        watch: called every 10 s from then on.

    Raises:
        ServerError: if a port is taken, or a server ends or does not answer in time.
    """
    for server in wanted:
        _require_free(server.port)
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
        watched = time.monotonic()
        while True:
            _require_alive(children)
            if time.monotonic() - watched >= _WATCH_S:
                watch()
                watched = time.monotonic()
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
