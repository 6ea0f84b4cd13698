"""``voxline preflight``: what the four stages will need, and whether they fit, before anything is reserved."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipelines.settings import HomeOption, default_home
from pipelines.shown import escape
from training_jobs.jobs import MeasuredStage, PreflightJob, read_result, write_job
from training_jobs.spec import PROFILES, STAGES
from validation.errors import ConfigurationError, UserError

if TYPE_CHECKING:
    from assets.workspace import Workspace

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
            help="Measured in the first stage that is trained, all GPUs together; else that of the home's last stages.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    home: HomeOption = None,
) -> None:
    """Reckon memory, steps, tokens, time and disk of the four stages; exit code 2 where something does not fit."""
    from assets.workspace import Workspace  # with Dagster: a second that no other command is to wait for

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
    from assets.outputs import Outputs

    outputs = Outputs(workspace.training_dir)
    stages = []
    for stage in STAGES:
        output = outputs.find(stage)
        result = None if output is None or output.asset != stage else read_result(output.path)
        if result is not None and result.get("tokens_per_s"):
            speed, ranks = float(result["tokens_per_s"]), int(result["world_size"])
            device = str(result.get("device", ""))
            stages.append(MeasuredStage(stage=stage, tokens_per_second=speed, ranks=ranks, device=device))
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
    _console.print(_memory(found["stages"], found["usable_share"], found["runtime_bytes"]))
    _console.print(_moments(found["stages"]))
    _console.print(_work(found["stages"]))
    for line in [*_idle(found["stages"]), *_speeds(found["stages"], found["measured_elsewhere"])]:
        _console.print(escape(line), soft_wrap=True)
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


def _idle(stages: list[dict[str, Any]]) -> list[str]:
    """With how many ranks none would be idle, of the stages in which some are."""
    lines: dict[str, list[str]] = {}
    for stage in stages:
        if stage["idle"]:
            *others, last = map(str, stage["possible_ranks"])
            words = f"{', '.join(others)} or {last}" if others else last
            lines.setdefault(words, []).append(stage["stage"])
    return [
        f"idle: the rows of a step are dealt out to {words} ranks ({', '.join(of)})"
        for words, of in lines.items()
    ]


def _speeds(stages: list[dict[str, Any]], elsewhere: list[str]) -> list[str]:
    """Where the speeds come from, in the order of training."""
    origins: dict[str, list[str]] = {}
    for stage in stages:
        if stage["speed_from"] is not None:
            origins.setdefault(stage["speed_from"], []).append(stage["stage"])
    if origins:
        return [f"speed of {', '.join(of)}: {origin}" for origin, of in origins.items()]
    of_home = (
        f"this home's stages ran on {' and '.join(elsewhere)}, which does not tell it; " if elsewhere else ""
    )
    return [f"time: not measured; {of_home}--tokens-per-second says how fast {stages[0]['stage']} is"]


def _memory(stages: list[dict[str, Any]], usable_share: float, runtime: int) -> Table:
    unit = _unit(stage["memory"]["total"] for stage in stages)
    table = _table(f"{unit} per rank", "ranks", "ZeRO", *_KINDS, "total", "usable", "fits")
    shared = (
        f" of the memory, dealt out to the ranks of a machine, less {runtime >> 20} MiB for Python and torch"
    )
    usable = f"{usable_share:.0%}{shared if runtime else ' of a device'}"
    table.caption = f"at the moment of a step that needs most (below); usable: {usable}"
    for stage in stages:
        one = stage["memory"]
        ranks = f"{stage['ranks']} ({stage['idle']} idle)" if stage["idle"] else str(stage["ranks"])
        table.add_row(
            stage["stage"],
            ranks,
            str(stage["zero_stage"]),
            *(_in(unit, one[kind]) for kind in (*_KINDS, "total")),
            _in(unit, one["room"]),
            "yes" if stage["fits"] else "[bold red]no[/bold red]",
        )
    return table


def _moments(stages: list[dict[str, Any]]) -> Table:
    unit = _unit(stage["memory"]["total"] for stage in stages)
    names = [moment["moment"] for moment in stages[0]["moments"]]
    table = _table(f"{unit} per rank at", *names, "logits at most", "host")
    table.caption = (
        "start: weights are laid out; losses: a forward pass ends; backward: as it begins; reduced: all gradients are "
        "there; norm: of these; update: by Adam"
    )
    for stage in stages:
        moments = stage["moments"]
        cells = [_in(unit, one["total"]) for one in moments]
        logits = max(one["logits"] for one in moments)
        table.add_row(stage["stage"], *cells, _in(unit, logits), _in(unit, stage["memory"]["host"]))
    return table


def _work(stages: list[dict[str, Any]]) -> Table:
    unit = _unit(stage["disk"]["checkpoint"] for stage in stages)
    table = _table(
        "work", "steps", "passes", "tokens a step", "tokens", "tokens/s", "time", f"checkpoint {unit}", "kept"
    )
    table.caption = "tokens: were every row full; kept: checkpoints at a time, the one being written included"
    for stage in stages:
        hours, speed, disk = stage["hours"], stage["tokens_per_second"], stage["disk"]
        tokens = stage["tokens"]
        table.add_row(
            stage["stage"],
            f"{stage['steps']:,}",
            str(stage["accumulation"]),
            f"{stage['tokens_per_step']:,}",
            f"{tokens / 1e9:,.2f} e9" if tokens >= 1e8 else f"{tokens:,}",
            "not measured" if speed is None else f"{speed:,.0f}",
            "not measured" if hours is None else _time(hours),
            _in(unit, disk["checkpoint"]),
            str(disk["kept"]),
        )
    return table


def _time(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else f"{hours * 60:,.1f} min"


def _table(*columns: str) -> Table:
    table = Table()
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=index == 0)
    return table


def _unit(counts: Iterable[int]) -> str:
    """Of a table's figures: that in which the largest of ``counts`` is not below one."""
    return "GiB" if max(counts) >= GIB else "MiB"


def _in(unit: str, count: int) -> str:
    value = count / (GIB if unit == "GiB" else GIB >> 10)
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}"
