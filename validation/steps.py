"""What a step of the graph gives back, and the one way in which a step decides that it has nothing to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from validation.lake import Lake, MissingTableError
from validation.schemas import TableName
from validation.scratch import scratch_room

_UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """The end of one step for one partition.

    Attributes:
        recomputed: ``False`` if the output was there already, made from the same inputs.
        inputs: Digest of everything the output was made from.
        rows: Rows of the step's table.
        summary: Counts and figures for people; kept in the step's manifest.
    """

    recomputed: bool
    inputs: str
    rows: int
    summary: dict[str, Any]


def run_step(
    lake: Lake,
    step: str,
    partition: str,
    inputs: str,
    outputs: list[str],
    compute: Callable[[], dict[str, Any]],
    is_whole: Callable[[], bool] = lambda: True,
) -> StepOutcome:
    """Run ``compute`` unless its output is there, made from the same ``inputs``.

    Of two runs at once, one waits for the other here, and finds what that one has made.

    Args:
        outputs: Paths in the lake; one that is missing makes the step run.
        compute: Writes the outputs and returns the summary, in which ``rows`` is required.
        is_whole: Asked of outputs that are there: whether nothing is left to do, and what they name is there too.
    """
    with scratch_room(), lake.turn(f"{step}--{partition}"):
        lake.remove_leftovers()
        return _run_step(lake, step, partition, inputs, outputs, compute, is_whole)


def _run_step(
    lake: Lake,
    step: str,
    partition: str,
    inputs: str,
    outputs: list[str],
    compute: Callable[[], dict[str, Any]],
    is_whole: Callable[[], bool],
) -> StepOutcome:
    manifest = lake.read_manifest(step, partition)
    made = (
        manifest is not None and manifest["inputs"] == inputs and all(lake.exists(path) for path in outputs)
    )
    if manifest is not None and made and is_whole():
        summary = manifest["summary"]
        return StepOutcome(recomputed=False, inputs=inputs, rows=int(summary["rows"]), summary=summary)
    if manifest is not None:
        # From the first output replaced to the last, the old manifest would describe a mixture. A kill in between,
        # and a return to the old inputs, must not find it.
        # Its summary stays: a run beside this one may be counting its rows.
        lake.write_manifest(step, partition, _UNFINISHED, manifest["summary"])
    summary = compute()
    lake.write_manifest(step, partition, inputs, summary)
    return StepOutcome(recomputed=True, inputs=inputs, rows=int(summary["rows"]), summary=summary)


def table_digest(lake: Lake, name: TableName, partition: str) -> str:
    """Digest of a partition's file: what a step downstream counts as its input.

    Raises:
        validation.lake.MissingTableError: if the partition has not been written.
    """
    digest = lake.digest(lake.table_path(name, partition))
    if digest is None:
        raise MissingTableError(f"table {name} has no partition {partition!r} in {lake.url}")
    return digest
