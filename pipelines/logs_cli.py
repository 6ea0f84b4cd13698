"""``voxline logs``: how the training stages went, and what they say while they run."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from pipelines.settings import HomeOption, default_home, require_settings
from pipelines.shown import escape
from training_jobs.spec import PROFILES, STAGES, ProfileName, Stage
from validation.errors import ConfigurationError

if TYPE_CHECKING:
    from pipelines.stage_logs import StageLog
    from training_jobs.training_log import TrainingLog

# Where there is no terminal to ask (a file, a CI log), tables get the width they want.
_console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
_STYLES = {
    "converged": "green",
    "still falling": "yellow",
    "plateau": "yellow",
    "diverged": "red",
    "too short": "dim",
}
_LAST_LINES = 20
_MESSAGES = 20


def logs(
    stage: Annotated[
        str | None,
        typer.Argument(help=f"{', '.join(STAGES)}; without it a line on each.", show_default=False),
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="The home's own by default.", show_default=False)
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with each line that comes, until the stage ends.")
    ] = False,
    errors: Annotated[bool, typer.Option("--errors", help="Of the lines, only warnings and errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    home: HomeOption = None,
) -> None:
    """Show how training went: convergence, losses by module and task, speed, waiting, warnings and errors."""
    from assets.workspace import Workspace
    from pipelines.stage_logs import find_stage_log

    place = (home or default_home()).resolve()
    name = _profile(profile) if profile is not None else require_settings(place).profile
    training_dir = Workspace(home=str(place), profile_name=name).training_dir
    if stage is None:
        if follow or errors:
            raise ConfigurationError(
                f"{'--follow' if follow else '--errors'} needs a stage: {', '.join(STAGES)}"
            )
        found = [find_stage_log(training_dir, one) for one in STAGES]
        if as_json:
            _write_json([one.to_json() for one in found])
        else:
            _console.print(stages_table(found, f"{place}, profile {name}"))
        return
    if follow and as_json:
        raise ConfigurationError("--follow shows lines as they come; it cannot be --json")
    one = find_stage_log(training_dir, _stage(stage))
    if one.state == "never":
        raise ConfigurationError(
            f"stage {stage} has never run in profile {name} of {place}: there is no log in {training_dir / stage}"
        )
    if as_json:
        _write_json(one.to_json())
    elif one.analysis is None:
        _console.print(f"{stage} was passed over: the imported weights start at a later stage")
    else:
        _show(one, one.analysis, errors)
        _show_lines(one, follow, errors)


def stages_table(found: list[StageLog], title: str) -> Table:
    """A line on each stage, for a terminal."""
    columns = (
        "stage",
        "state",
        "steps",
        "verdict",
        "loss first",
        "loss last",
        "tokens/s",
        "waiting",
        "warnings",
        "errors",
    )
    table = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="left" if column in ("stage", "state", "verdict") else "right")
    for one in found:
        if one.analysis is None:
            table.add_row(one.stage, one.state)
            continue
        analysis = one.analysis
        loss = analysis.curves["loss"]
        table.add_row(
            one.stage,
            one.state,
            f"{one.steps_taken}/{one.steps}",
            _styled(one.verdict),
            _three(loss.first),
            _three(loss.last),
            f"{analysis.tokens_per_s:,.0f}",
            f"{analysis.waiting_share:.2%}",
            str(analysis.log.warnings),
            str(analysis.log.errors),
        )
    return table


def trends_table(analysis: TrainingLog) -> Table:
    """A line on each curve, for a terminal."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("loss", "verdict", "first", "last", "best", "at step", "change over the last part"):
        table.add_column(column, justify="left" if column in ("loss", "verdict") else "right")
    for name, one in analysis.curves.items():
        table.add_row(
            escape(name),
            _styled(one.verdict),
            _three(one.first),
            _three(one.last),
            _three(one.best),
            "" if one.best_step is None else str(one.best_step),
            "" if one.change is None else f"{one.change:+.3f} ± {one.change_error:.3f}",
        )
    return table


def _show(one: StageLog, analysis: TrainingLog, only_messages: bool) -> None:
    known = (
        ""
        if analysis.steps == one.steps_taken
        else f"; losses up to step {analysis.steps}, the last checkpoint"
    )
    _console.print(f"[bold]{one.stage}[/bold] {one.state}, step {one.steps_taken} of {one.steps}{known}")
    _console.print(escape(f"log: {one.log}"), soft_wrap=True)
    _console.print(f"{_styled(one.verdict)}: {escape(one.why)}", soft_wrap=True)
    if not only_messages:
        _console.print(
            f"{analysis.tokens_per_s:,.0f} tokens/s ({analysis.tokens_per_s_first:,.0f} at first, "
            f"{analysis.tokens_per_s_last:,.0f} at last), {analysis.waiting_share:.2%} of the time waiting for rows, "
            f"{analysis.spike_count} gradient spikes"
        )
        _console.print(trends_table(analysis))
    warnings, errors = analysis.log.warnings, analysis.log.errors
    _console.print(f"{warnings} warning{'s' * (warnings != 1)}, {errors} error{'s' * (errors != 1)}")
    for message in analysis.log.messages[:_MESSAGES]:
        said = f"  {message.kind:7} {message.count:5} × from line {message.line}: {message.first}"
        _console.print(escape(said), soft_wrap=True)
    if len(analysis.log.messages) > _MESSAGES:
        _console.print(f"  {len(analysis.log.messages) - _MESSAGES} more kinds of message: --json")


def _show_lines(one: StageLog, follow: bool, errors: bool) -> None:
    from pipelines import stage_logs
    from training_jobs.log_lines import complaints

    lines, end = stage_logs.tail(one.log, _LAST_LINES)
    if not errors:
        _console.print()
        for line in lines:
            _console.print(escape(line), soft_wrap=True)
    if follow:
        coming = stage_logs.follow(one.log, end)
        for line in (words for _, _, words in complaints(coming)) if errors else coming:
            _console.print(escape(line), soft_wrap=True)


def _stage(name: str) -> Stage:
    for known in STAGES:
        if name == known:
            return known
    raise ConfigurationError(f"{name!r} is no stage; there are {', '.join(STAGES)}")


def _profile(name: str) -> ProfileName:
    for known in PROFILES:
        if name == known:
            return known
    raise ConfigurationError(f"--profile is {name!r}; it may be {' or '.join(PROFILES)}")


def _styled(verdict: str | None) -> str:
    return "" if verdict is None else f"[{_STYLES[verdict]}]{verdict}[/{_STYLES[verdict]}]"


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _write_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
