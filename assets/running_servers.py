"""Whether ``voxline up`` runs for a home, and where its Dagster answers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from assets.processes import is_alive, own_process
from validation.atomic import write_text

_FILE = ".servers.json"


@dataclass(frozen=True)
class RunningServers:
    """The servers of one home.

    Attributes:
        process: that runs them, as :func:`assets.processes.own_process` names it.
        dagster_port: of the Dagster UI.
    """

    process: str
    dagster_port: int


def announce_servers(home: Path, dagster_port: int) -> None:
    """Say that this process runs the servers of ``home``; it holds until the process ends, however it ends."""
    write_text(home / _FILE, json.dumps(asdict(RunningServers(own_process(), dagster_port))))


def find_servers(home: Path) -> RunningServers | None:
    """The servers of ``home`` that are running."""
    path = home / _FILE
    if not path.is_file():
        return None
    servers = RunningServers(**json.loads(path.read_text(encoding="utf-8")))
    return servers if is_alive(servers.process) else None
