"""The machines that a training stage runs on, from the environment: one, or several that meet at an address."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass

from validation.errors import ConfigurationError

NODES, NODE_RANK, ENDPOINT = "VOXLINE_NNODES", "VOXLINE_NODE_RANK", "VOXLINE_RDZV_ENDPOINT"
_SLURM_NODES = "SLURM_JOB_NUM_NODES"
_PORT = 29400  # torchrun's own default
_ENDPOINT = re.compile(r"(\[[0-9a-fA-F:]+\]|[^\s:\[\]]+):\d{1,5}")


@dataclass(frozen=True)
class Nodes:
    """The machines of one stage.

    Attributes:
        count: how many.
        endpoint: ``host:port`` where their launchers meet; ``None`` where there is one machine.
        rank: this one's number, where it was given.
        start: the words in front of a command that start it on each of them.
    """

    count: int = 1
    endpoint: str | None = None
    rank: int | None = None
    start: tuple[str, ...] = ()

    def torchrun_options(self, work: str) -> list[str]:
        """Options of torchrun; ``work`` names what the machines meet for."""
        if self.endpoint is None:
            return ["--standalone"]
        options = ["--nnodes", str(self.count), "--rdzv-backend", "c10d"]
        options += ["--rdzv-endpoint", self.endpoint, "--rdzv-id", work]
        return options if self.rank is None else [*options, "--node-rank", str(self.rank)]


def nodes_of(environment: Mapping[str, str] = os.environ) -> Nodes:
    """The machines that ``environment`` speaks of.

    ``$VOXLINE_NNODES`` machines meet at ``$VOXLINE_RDZV_ENDPOINT``, and the stage's command is started on each of them
    by whoever set these. Without them, inside an allocation of several nodes, Slurm starts it on each, and they meet at
    this one.

    Raises:
        ConfigurationError: naming variable and value.
    """
    if NODES not in environment:
        count = _number(environment, _SLURM_NODES, 1) if _SLURM_NODES in environment else 1
        if count == 1:
            return Nodes()
        endpoint = environment.get(ENDPOINT, f"{socket.gethostname()}:{_PORT}")
        # One launcher per node; when one of them fails, the others are ended.
        start = ("srun", "--nodes", str(count), "--ntasks", str(count), "--ntasks-per-node", "1")
        return Nodes(count, _checked(endpoint), start=(*start, "--kill-on-bad-exit=1"))
    count = _number(environment, NODES, 1)
    if count == 1:
        return Nodes()
    if ENDPOINT not in environment:
        raise ConfigurationError(
            f"${NODES} is {count}, but ${ENDPOINT} does not say where the machines meet: give host:port of one of them"
        )
    rank = _number(environment, NODE_RANK, 0) if NODE_RANK in environment else None
    if rank is not None and rank >= count:
        raise ConfigurationError(f"${NODE_RANK} is {rank}; with ${NODES} {count} it may be 0 to {count - 1}")
    return Nodes(count, _checked(environment[ENDPOINT]), rank)


def _number(environment: Mapping[str, str], name: str, least: int) -> int:
    value = environment[name]
    if not value.isdecimal() or int(value) < least:
        raise ConfigurationError(f"${name} is {value!r}; it must be a whole number from {least} on")
    return int(value)


def _checked(endpoint: str) -> str:
    if _ENDPOINT.fullmatch(endpoint) is None:
        raise ConfigurationError(f"${ENDPOINT} is {endpoint!r}; it must be host:port")
    return endpoint
