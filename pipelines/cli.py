"""The ``voxline`` command."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.logging import RichHandler

from models.errors import ModelError
from pipelines import forget_cli, logs_cli, preflight_cli, registry_cli, weights_cli
from pipelines.augment_cli import app as augment_app
from pipelines.corpora_cli import app as corpora_app
from pipelines.review_cli import app as review_app
from pipelines.settings import HomeOption, default_home, prepare_home, require_settings
from pipelines.shown import escape
from training_jobs.spec import PROFILES, ProfileName
from validation.errors import ConfigurationError, UserError
from validation.table_names import known_tables

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="From raw speech corpora to a registered, benchmarked speech language model.",
)
app.add_typer(augment_app, name="augment")
app.add_typer(corpora_app, name="corpora")
app.command()(forget_cli.forget)
app.command()(forget_cli.clean)
app.add_typer(review_app, name="review")
app.command("import")(weights_cli.import_weights)
app.command()(weights_cli.export)
app.command()(registry_cli.promote)
app.command()(registry_cli.rollback)
app.command()(logs_cli.logs)
app.command()(preflight_cli.preflight)
# Where there is no terminal to ask (a file, a CI log), tables get the width they want.
_console = Console(highlight=False, width=None if sys.stdout.isatty() else 130)
_errors = Console(stderr=True, highlight=False)


def main() -> None:
    """Entry point: what a user did wrong ends in one message and exit code 2, without a traceback."""
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=_errors, show_path=False)]
    )
    os.environ.setdefault("DAGSTER_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        app()
    except (UserError, ModelError) as error:
        _errors.print(f"[bold red]error:[/bold red] {escape(str(error))}", soft_wrap=True)
        sys.exit(2)


@app.command()
def run(
    corpora: Annotated[Path, typer.Option("--corpora", help="The corpora file (YAML).")],
    profile: Annotated[str, typer.Option("--profile", help=f"{', '.join(PROFILES)}.")] = "tiny",
    home: HomeOption = None,
    data_only: Annotated[
        bool, typer.Option("--data-only", help="Prepare the corpora and stop: the job prepare_data.")
    ] = False,
) -> None:
    """Do everything: prepare the corpora, train the four stages, evaluate, benchmark, register."""
    from assets.running_servers import find_servers
    from pipelines.jobs import EVERYTHING, PREPARE_DATA
    from pipelines.run import configure, run_job
    from pipelines.summary import print_data_summary, print_summary
    from pipelines.up import reload_code_location
    from training_jobs.profile import load_profile

    place = (home or default_home()).resolve()
    settings = configure(place, corpora, _profile(profile))
    if (servers := find_servers(place)) is not None:
        _console.print(escape(reload_code_location(servers)), soft_wrap=True)
    _console.print(
        f"corpora [bold]{escape(str(corpora))}[/bold], profile [bold]{profile}[/bold], home {escape(str(place))}"
    )
    if os.environ.get("VOXLINE_BASE_MODEL") and load_profile(settings.profile).base_model.directory is None:
        _console.print(
            f"VOXLINE_BASE_MODEL is set, and profile {profile} makes its own base model: it is not used"
        )
    report = run_job(place, settings, _console, PREPARE_DATA if data_only else EVERYTHING)
    if not report.succeeded:
        _errors.print(f"[bold red]run {report.run_id} failed[/bold red]\n{escape(report.failure or '')}")
        _errors.print("What was finished is kept: the same command goes on from there.")
        _errors.print("How the corpora stand: voxline report")
        raise typer.Exit(1)
    (print_data_summary if data_only else print_summary)(_console, place, settings, report)


@app.command()
def sql(
    statement: Annotated[
        str,
        typer.Argument(
            help=f"A DuckDB statement over one view per table: {', '.join(sorted(known_tables()))}."
        ),
    ],
    output_format: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
    home: HomeOption = None,
) -> None:
    """Query the lake's tables with SQL."""
    import duckdb

    from assets.workspace import Workspace
    from pipelines.sql import as_json, as_table, query

    if output_format not in ("table", "json"):
        raise ConfigurationError(f"--format is {output_format!r}; it may be table or json")
    place = (home or default_home()).resolve()
    require_settings(place)
    lake = Workspace(home=str(place)).lake
    try:
        frame = query(lake, statement)
    except duckdb.Error as error:
        _errors.print(f"[bold red]error:[/bold red] {escape(str(error))}")
        if isinstance(error, duckdb.CatalogException):
            _errors.print(f"The views are {', '.join(sorted(known_tables()))}.", soft_wrap=True)
        raise typer.Exit(1) from error
    if output_format == "json":
        sys.stdout.write(as_json(frame) + "\n")
    else:
        _console.print(as_table(frame))


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    home: HomeOption = None,
) -> None:
    """Show the last materialisation and health of each asset, and the registry's aliases."""
    import json

    from assets.workspace import Workspace
    from pipelines.definitions import build_definitions
    from pipelines.run import open_instance
    from pipelines.status import as_table, collect

    place = (home or default_home()).resolve()
    settings = require_settings(place)
    workspace = Workspace(home=str(place), corpora_file=settings.corpora, profile_name=settings.profile)
    with open_instance(place) as instance:
        found = collect(instance, build_definitions(place, settings), workspace)
    if as_json:
        sys.stdout.write(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    else:
        _console.print(as_table(found))


@app.command()
def report(
    version: Annotated[
        str | None,
        typer.Argument(
            help="A registered version's number, or an alias: its page instead.", show_default=False
        ),
    ] = None,
    corpus: Annotated[
        list[str] | None, typer.Option("--corpus", help="Only this corpus; may be given again.")
    ] = None,
    accept_drift: Annotated[
        list[str] | None,
        typer.Option("--accept-drift", help="Take this corpus' last state for good, although it drifted."),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Print where the corpora's pages lie, made again if their tables changed; or make the page of a VERSION."""
    from assets.workspace import Workspace
    from pipelines import reports

    place = (home or default_home()).resolve()
    settings = require_settings(place)
    workspace = Workspace(home=str(place), corpora_file=settings.corpora, profile_name=settings.profile)
    if version is not None:
        if corpus or accept_drift:
            raise ConfigurationError(
                "VERSION is a model's, --corpus and --accept-drift are of corpora: give one of them"
            )
        from pipelines.version_pages import write_version_page

        made = write_version_page(workspace, version)
        _console.print(escape(f"version {made.version}: {made.words}\n  {made.place}"), soft_wrap=True)
        return
    for name in accept_drift or []:
        _console.print(escape(reports.accept_drift(workspace, name)), soft_wrap=True)
    for line in reports.write_reports(workspace, corpus or workspace.corpus_names):
        style = "yellow" if line.has_drifted or line.place is None else "default"
        words = f"{line.corpus}: {line.words}\n  {line.place or 'no page'}"
        _console.print(escape(words), style=style, soft_wrap=True)
    _console.print(escape(f"all corpora:\n  {reports.index_place(workspace)}"), soft_wrap=True)


@app.command()
def up(
    home: HomeOption = None,
    dagster_port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow UI.")] = 5000,
) -> None:
    """Start the Dagster UI with its daemon and the MLflow UI on 127.0.0.1; Ctrl-C stops all of it."""
    from assets.workspace import Workspace
    from pipelines.up import serve

    place = (home or default_home()).resolve()
    prepare_home(place)
    serve(place, dagster_port, mlflow_port, Workspace(home=str(place)).tracking_uri, _console)


def _profile(name: str) -> ProfileName:
    for known in PROFILES:
        if name == known:
            return known
    raise ConfigurationError(f"--profile is {name!r}; it may be {' or '.join(PROFILES)}")


if __name__ == "__main__":
    main()
