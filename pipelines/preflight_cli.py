"""``voxline preflight``: what the four stages will need, and whether they fit, before anything is reserved."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from assets.outputs import Outputs
from assets.workspace import Workspace
from pipelines.settings import default_home
from pipelines.shown import escape
from training_jobs.jobs import MeasuredStage, PreflightJob, read_result, write_job
from training_jobs.spec import PROFILES, STAGES
from validation.errors import ConfigurationError, UserError

GIB = 1 << 30
# Of what a rank holds; the program says the same names (it has torch, and this has none).
_KINDS = ("weights", "gradients", "optimizer", "activations", "logits")
_console = Console(highlight=False, width=None if sys.stdout.isatty() else 130)
_errors = Console(stderr=True, highlight=False, soft_wrap=True)


def preflight(
    profile: Annotated[str, typer.Option("--profile", help=f"{', '.join(PROFILES)}.")],
    gpus: Annotated[
        int | None,
        typer.Option("--gpus", min=1, help="How many, on all machines; this machine's if not given."),
    ] = None,
    gpu_memory_gib: Annotated[
        float, typer.Option("--gpu-memory-gib", min=1, help="Of each, where this machine has none to ask.")
    ] = 80.0,
    tokens_per_second: Annotated[
        float | None,
        typer.Option(
            "--tokens-per-second",
            min=0.001,
            help=f"Measured in {STAGES[0]}, all GPUs together; else that of the home's last stages.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home", help="Where everything is kept; $DAGSTER_HOME, else dagster_home/.", show_default=False
        ),
    ] = None,
) -> None:
    """Reckon memory, steps, tokens, time and disk of the four stages; exit code 2 where something does not fit."""
    place = (home or default_home()).resolve()
    workspace = Workspace(home=str(place), profile_name=_known(profile))
    found = reckon(workspace, gpus, gpu_memory_gib, tokens_per_second)
    if as_json:
        sys.stdout.write(json.dumps({"profile": profile, **found}, indent=1, ensure_ascii=False) + "\n")
    else:
        _print(profile, found)
    for line in found["refusals"]:
        _errors.print(f"[bold red]does not fit:[/bold red] {escape(line)}")
    if found["refusals"]:
        raise typer.Exit(2)


def reckon(
    workspace: Workspace, gpus: int | None, gpu_memory_gib: float, tokens_per_second: float | None
) -> dict[str, Any]:
    """What the program ``preflight`` finds for the workspace's profile.

    Raises:
        PreflightError: with what the program said, where it could not reckon.
    """
    profile = workspace.profile
    with tempfile.TemporaryDirectory(prefix="voxline-preflight-") as folder:
        output = Path(folder)
        job = PreflightJob(
            specs=[workspace.stage(stage) for stage in STAGES],
            base_model=profile.base_model,
            audio_codes=profile.audio_tokenizer.codes,
            gpus=gpus,
            gpu_memory_gib=gpu_memory_gib,
            tokens_per_second=tokens_per_second,
            measured=measured_stages(workspace),
            home=Path(workspace.home),
            output_dir=output,
        )
        path = write_job(job, output / "job.json")
        command = [sys.executable, "-m", "training_jobs.preflight", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = read_result(output)
    if done.returncode != 0 or found is None:
        raise PreflightError(_last_words(done.stderr))
    return found


class PreflightError(UserError):
    """Why nothing could be reckoned, in the program's own words."""


def measured_stages(workspace: Workspace) -> list[MeasuredStage]:
    """The speeds of the stages that this home has trained in its profile, in order."""
    outputs = Outputs(workspace.training_dir)
    stages = []
    for stage in STAGES:
        output = outputs.find(stage)
        result = None if output is None or output.asset != stage else read_result(output.path)
        if result is not None and result.get("tokens_per_s"):
            speed, ranks = float(result["tokens_per_s"]), int(result["world_size"])
            stages.append(MeasuredStage(stage=stage, tokens_per_second=speed, ranks=ranks))
    return stages


def _known(profile: str) -> str:
    if profile not in PROFILES:
        raise ConfigurationError(f"--profile is {profile!r}; it may be {' or '.join(PROFILES)}")
    return profile


def _last_words(said: str) -> str:
    """A fault that a user can mend is the program's last line, behind its kind; anything else is shown whole."""
    lines = said.rstrip().splitlines() or ["it said nothing"]
    return lines[-1].partition("Error: ")[2] or "\n".join(lines[-20:])


def _print(profile: str, found: dict[str, Any]) -> None:
    device = found["device"]
    where = (
        f"{device['ranks']} x {device['name']}" if device["kind"] == "cuda" else "the CPUs of this machine"
    )
    stated = ", as stated" if device["is_stated"] else ""
    sizes = "published sizes, since no model is there; " if found["published_sizes"] else ""
    _console.print(
        escape(
            f"{profile} on {where} ({device['device_bytes'] / GIB:.1f} GiB{stated}); {sizes}vocabulary "
            f"{found['vocabulary']:,}"
        )
    )
    _console.print(_models(found["stages"]))
    _console.print(_memory(found["stages"], found["usable_share"]))
    _console.print(_moments(found["stages"]))
    _console.print(_work(found["stages"]))
    origins = sorted({stage["speed_from"] for stage in found["stages"] if stage["speed_from"] is not None})
    for origin in origins:
        _console.print(escape(f"speed: {origin}"), soft_wrap=True)
    if not origins:
        _console.print(
            "time: not measured; --tokens-per-second says how fast the first stage is", soft_wrap=True
        )
    disk = found["disk"]
    _console.print(
        escape(
            f"disk: {disk['needed'] / GIB:,.1f} GiB for checkpoints and models at the most, without packs and audio; "
            f"{disk['free'] / GIB:,.1f} GiB free in {disk['path']}"
        ),
        soft_wrap=True,
    )


def _models(stages: list[dict[str, Any]]) -> Table:
    table = _table("parameters", "all", "backbone", "layers", "modules", "each", "trained")
    for stage in stages:
        one = stage["parameters"]
        counts = [one["all"], one["backbone"], one["backbone_layers"], one["modules"], one["per_module"]]
        table.add_row(stage["stage"], *(f"{count:,}" for count in [*counts, one["trained"]]))
    return table


def _memory(stages: list[dict[str, Any]], usable_share: float) -> Table:
    table = _table("GiB per rank", "ranks", "ZeRO", *_KINDS, "total", "usable", "fits")
    table.caption = (
        f"at the moment of a step that needs most (below); usable are {usable_share:.0%} of a device"
    )
    for stage in stages:
        one = stage["memory"]
        ranks = f"{stage['ranks']} ({stage['idle']} idle)" if stage["idle"] else str(stage["ranks"])
        table.add_row(
            stage["stage"],
            ranks,
            str(stage["zero_stage"]),
            *(_gib(one[kind]) for kind in (*_KINDS, "total")),
            _gib(one["room"]),
            "yes" if stage["fits"] else "[bold red]no[/bold red]",
        )
    return table


def _moments(stages: list[dict[str, Any]]) -> Table:
    names = [moment["moment"] for moment in stages[0]["moments"]]
    table = _table("GiB per rank at", *names, "logits at most", "host")
    table.caption = "start: weights are laid out; backward: as it begins; reduced: all gradients are there"
    for stage in stages:
        moments = stage["moments"]
        cells = [_gib(one["total"]) for one in moments]
        logits = max(one["logits"] for one in moments)
        table.add_row(stage["stage"], *cells, _gib(logits), _gib(stage["memory"]["host"]))
    return table


def _work(stages: list[dict[str, Any]]) -> Table:
    table = _table(
        "work", "steps", "passes", "tokens a step", "tokens", "tokens/s", "hours", "checkpoint GiB", "kept"
    )
    table.caption = "tokens: were every row full; kept: checkpoints at a time, the one being written included"
    for stage in stages:
        hours, speed, disk = stage["hours"], stage["tokens_per_second"], stage["disk"]
        table.add_row(
            stage["stage"],
            f"{stage['steps']:,}",
            str(stage["accumulation"]),
            f"{stage['tokens_per_step']:,}",
            f"{stage['tokens'] / 1e9:,.2f} e9",
            "not measured" if speed is None else f"{speed:,.0f}",
            "not measured" if hours is None else f"{hours:,.1f}",
            _gib(disk["checkpoint"]),
            str(disk["kept"]),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table()
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=index == 0)
    return table


def _gib(count: int) -> str:
    return f"{count / GIB:,.2f}" if count < 10 * GIB else f"{count / GIB:,.1f}"
