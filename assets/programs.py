"""Starts the programs of ``training_jobs`` through Dagster Pipes, and turns their results into materialisations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError  # not exported at the root

from assets.outputs import Outputs
from assets.workspace import Workspace
from training_jobs.jobs import read_result, write_job
from training_jobs.launch import program_command
from training_jobs.log_lines import LOG_FILE
from training_jobs.program_output import last_words
from validation.strict import Strict

_SUPERVISOR_ENDS_S = 30.0  # what the supervisor takes to kill and to count what is left
Pipes = dg.ResourceParam[dg.PipesSubprocessClient]
MakeCommand = Callable[[Path, Path], list[str]]  # from the job's file and the log's file to the command


def pipes_client(workspace: Workspace) -> dg.PipesSubprocessClient:
    """A client that, when its step is cancelled, waits for as long as its program may take to end well."""
    return dg.PipesSubprocessClient(
        termination_timeout_seconds=workspace.profile.limits.grace_s + _SUPERVISOR_ENDS_S
    )


def command_of(workspace: Workspace, program: str) -> MakeCommand:
    """How a program of one process is started, with the profile's limits."""

    def make(job: Path, log: Path) -> list[str]:
        return program_command(program, job, log, workspace.profile.limits, workspace.quiet_programs)

    return make


def launch(
    context: dg.AssetExecutionContext,
    pipes: dg.PipesSubprocessClient,
    directory: Path,
    job: Strict,
    make_command: MakeCommand,
) -> None:
    """Write ``job`` into its output ``directory`` and run its program there to the end.

    Raises:
        dagster.Failure: with the program's own last lines.
    """
    log = directory / LOG_FILE
    said_before = log.stat().st_size if log.is_file() else 0
    command = make_command(write_job(job, directory / "job.json"), log)
    context.log.debug(f"starting {' '.join(command)}")
    try:
        pipes.run(context=context, command=command)
    except DagsterPipesExecutionError as error:
        why, lines = last_words(log, said_before)
        raise dg.Failure(
            description="\n".join([f"{context.asset_key.to_user_string()}: {why or error}", *lines]),
            metadata={"log": dg.MetadataValue.path(log)},
            allow_retries=False,
        ) from error


def materialize_by_program(
    context: dg.AssetExecutionContext,
    pipes: dg.PipesSubprocessClient,
    outputs: Outputs,
    inputs: str,
    make_command: MakeCommand,
    make_job: Callable[[Path], Strict],
) -> dict[str, Any]:
    """Let a program make the asset's output from ``inputs``, unless that very output is there already.

    Args:
        make_command: as in :func:`launch`.
        make_job: from the output directory to the job.

    Returns:
        The metadata to show with the materialisation.
    """
    asset = context.asset_key.to_user_string()
    directory = outputs.directory(asset, inputs)
    recomputed = not outputs.is_done(asset, inputs)
    if recomputed:
        launch(context, pipes, directory, make_job(directory), make_command)
        if not outputs.is_done(asset, inputs):
            raise dg.Failure(
                description=f"{asset}: its program ended without writing a result in {directory}"
            )
    else:
        context.log.info(f"{asset} is up to date ({directory})")
    outputs.publish(asset, inputs)
    return {
        **read_metadata(directory),
        "recomputed": recomputed,
        "inputs": inputs,
        "output": dg.MetadataValue.path(directory),
    }


def read_metadata(directory: Path) -> dict[str, Any]:
    """What the program left for people to see: scalars of its result, and its markdown.

    A value of the result is shown as it is when it is a number or a short text; keys ending in ``_markdown`` are
    rendered.
    """
    result = read_result(directory)
    assert result is not None, directory
    shown: dict[str, Any] = {}
    for key, value in result.items():
        if key.endswith("_markdown"):
            shown[key.removesuffix("_markdown")] = dg.MetadataValue.md(value)
        elif isinstance(value, bool | int | float | str):
            shown[key] = value
        elif isinstance(value, dict | list) and len(str(value)) < 4_000:
            shown[key] = dg.MetadataValue.json(value)
    return shown
