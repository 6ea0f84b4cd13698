"""``voxline up``: the pages of one home, on this machine only, until Ctrl-C.

Where ``$MLFLOW_TRACKING_URI`` names a tracking server, that one has its own pages and no other is started.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from assets.recovery import release_dead_runs
from assets.running_servers import RunningServers, announce_servers, find_servers
from pipelines.run import open_instance
from pipelines.servers import (
    CODE_LOCATION,
    HOST,
    ServerError,
    dagster_server,
    environment,
    mlflow_server,
    run_until_interrupted,
)
from pipelines.shown import escape
from training_jobs.jobs import Tracking


def serve(home: Path, dagster_port: int, mlflow_port: int, tracking_uri: str, console: Console) -> None:
    """Serve the pages of a prepared ``home`` until Ctrl-C or SIGTERM; runs that are killed meanwhile are marked failed.

    Args:
        tracking_uri: of MLflow; a server is started where it is the home's own store.

    Raises:
        ServerError: if the home has servers already, a port is taken, or a server ends by itself.
    """
    running = find_servers(home)
    if running is not None:
        raise ServerError(
            f"the servers of {home} run already, Dagster on http://{HOST}:{running.dagster_port} "
            f"(process {running.process}): one daemon per home"
        )
    wanted = [dagster_server(home, dagster_port)]
    mlflow_page = tracking_uri
    if tracking_uri == own_store(home):
        # The server would race with a run that makes the tables too.
        _prepare_store(home)
        wanted.append(mlflow_server(home, mlflow_port, tracking_uri))
        mlflow_page = f"http://{HOST}:{mlflow_port}/?workflowType=machine_learning"

    def ready() -> None:
        console.print(f"Dagster  http://{HOST}:{dagster_port}", soft_wrap=True)
        console.print(f"MLflow   {escape(mlflow_page)}", soft_wrap=True)
        console.print("Ctrl-C stops what was started here.")

    console.print(f"starting the servers of {escape(str(home))} (their logs: {escape(str(home / 'logs'))})")
    with open_instance(home) as instance:
        release_dead_runs(instance, home)
        announce_servers(home, dagster_port)
        # Dagster's own monitoring would leave a killed run at work for ever, and the queue behind it waiting.
        run_until_interrupted(wanted, environment(home), ready, lambda: release_dead_runs(instance, home))


def own_store(home: Path) -> str:
    """The tracking URI of the home's own MLflow store."""
    return f"sqlite:///{home}/mlflow.db"


def reload_code_location(servers: RunningServers) -> str:
    """Have running servers read the home's settings and corpora again; what to tell the user."""
    from dagster_graphql import (
        DagsterGraphQLClient,
        DagsterGraphQLClientError,
        ReloadRepositoryLocationStatus,
    )

    try:
        client = DagsterGraphQLClient(HOST, port_number=servers.dagster_port)
        answer = client.reload_repository_location(CODE_LOCATION)
        reloaded = answer.status == ReloadRepositoryLocationStatus.SUCCESS
    except DagsterGraphQLClientError:  # the servers are starting, or stopping
        reloaded = False
    if reloaded:
        return f"the pages on http://{HOST}:{servers.dagster_port} show these corpora now"
    return (
        f"the pages on http://{HOST}:{servers.dagster_port} still show the corpora that they were started with: "
        "reload the code location there (Deployment), or start voxline up again"
    )


def _prepare_store(home: Path) -> None:
    from training_jobs.tracking_store import prepare_store

    prepare_store(Tracking(uri=own_store(home), artifact_root=str(home / "mlartifacts"), tags={}))
