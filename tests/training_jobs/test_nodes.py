"""Which machines a stage runs on, as the environment says."""

from __future__ import annotations

import socket

import pytest

from training_jobs.nodes import Nodes, nodes_of
from validation.errors import ConfigurationError

MEETING = {"VOXLINE_NNODES": "4", "VOXLINE_RDZV_ENDPOINT": "node-1.cluster:29400"}


@pytest.mark.parametrize(
    "environment", [{}, {"VOXLINE_NNODES": "1"}, {"SLURM_JOB_NUM_NODES": "1", "SLURM_NODEID": "0"}]
)
def test_one_machine_meets_nobody(environment: dict[str, str]) -> None:
    assert nodes_of(environment) == Nodes()
    assert Nodes().torchrun_options("abc") == ["--standalone"]


def test_several_meet_at_the_address_for_one_piece_of_work() -> None:
    nodes = nodes_of(MEETING | {"VOXLINE_NODE_RANK": "3", "SLURM_JOB_NUM_NODES": "9"})
    assert nodes == Nodes(4, "node-1.cluster:29400", 3)
    assert nodes.torchrun_options("abc") == [
        *("--nnodes", "4", "--rdzv-backend", "c10d"),
        *("--rdzv-endpoint", "node-1.cluster:29400", "--rdzv-id", "abc", "--node-rank", "3"),
    ]


def test_slurm_starts_the_command_on_each_node_of_its_allocation() -> None:
    nodes = nodes_of({"SLURM_JOB_NUM_NODES": "2"})
    assert nodes.start[:3] == ("srun", "--nodes", "2")
    assert nodes.endpoint == f"{socket.gethostname()}:29400"
    assert "--node-rank" not in nodes.torchrun_options("abc")
    elsewhere = nodes_of({"SLURM_JOB_NUM_NODES": "2", "VOXLINE_RDZV_ENDPOINT": "[::1]:7"})
    assert elsewhere.endpoint == "[::1]:7"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"VOXLINE_NNODES": "two"}, r"\$VOXLINE_NNODES is 'two'; it must be a whole number from 1 on"),
        ({"VOXLINE_NNODES": "0"}, r"\$VOXLINE_NNODES is '0'"),
        ({"VOXLINE_NNODES": "2"}, r"\$VOXLINE_NNODES is 2, but \$VOXLINE_RDZV_ENDPOINT does not say"),
        (MEETING | {"VOXLINE_RDZV_ENDPOINT": "node"}, r"\$VOXLINE_RDZV_ENDPOINT is 'node'; .* host:port"),
        (MEETING | {"VOXLINE_NODE_RANK": "4"}, r"\$VOXLINE_NODE_RANK is 4; .* may be 0 to 3"),
        (MEETING | {"VOXLINE_NODE_RANK": "-1"}, r"\$VOXLINE_NODE_RANK is '-1'"),
    ],
)
def test_what_cannot_be_is_refused_by_variable_and_value(environment: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        nodes_of(environment)
