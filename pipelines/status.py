"""``voxline status``: the last materialisation and health of each asset, and the registry's aliases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
from rich.table import Table

from assets.workspace import Workspace
from pipelines.failures import Failure, recent_failures
from pipelines.shown import escape
from training_jobs.tracking_store import REGISTERED_MODEL

_STYLES = {"healthy": "green", "warning": "yellow", "failing": "red", "never": "dim"}


def collect(
    instance: dg.DagsterInstance, definitions: dg.Definitions, workspace: Workspace
) -> dict[str, Any]:
    """Status of every asset and of the registry, as JSON-serialisable values.

    An asset is ``failing`` where an error check does not hold, or where its last attempt failed: then ``failed_run``
    is that run's id.
    """
    graph = definitions.resolve_asset_graph()
    corpora = workspace.corpus_names if workspace.corpora_file else []
    failures = recent_failures(instance, corpora)
    return {
        "home": workspace.home,
        "profile": workspace.profile_name,
        "corpora": workspace.corpora_file,
        "assets": [
            _asset(instance, graph, key, failures.get(key.to_python_identifier(), ()))
            for key in graph.toposorted_asset_keys
        ],
        "registry": registry(workspace),
    }


def _asset(
    instance: dg.DagsterInstance, graph: Any, key: dg.AssetKey, failures: Sequence[Failure]
) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(key)
    checks = {
        check.name: _evaluation(instance, check)
        for check in sorted(graph.get_check_keys_for_assets({key}), key=lambda check: check.name)
    }
    failed = [found for found in checks.values() if found is not None and not found.passed]
    is_partitioned = graph.get(key).partitions_def is not None
    failure = next((one for one in failures if not one.is_mended(instance, key, is_partitioned)), None)
    if failure is not None:
        health = "failing"
    elif event is None:
        health = "never"
    elif any(found.severity == dg.AssetCheckSeverity.ERROR for found in failed):
        health = "failing"
    else:
        health = "warning" if failed else "healthy"
    return {
        "asset": key.to_user_string(),
        "last_materialized": None
        if event is None
        else datetime.fromtimestamp(event.timestamp, UTC).isoformat(),
        "run_id": None if event is None else event.run_id,
        "failed_run": None if failure is None else failure.run_id,
        "checks": {name: None if found is None else found.passed for name, found in checks.items()},
        "health": health,
    }


def _evaluation(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> dg.AssetCheckEvaluation | None:
    """The check's last evaluation; ``None`` where it has never run to its end."""
    latest = instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
    return latest[0].evaluation if latest else None


def registry(workspace: Workspace) -> dict[str, Any]:
    """Versions behind the aliases of the registered model; empty where nothing was registered."""
    uri = workspace.tracking_uri
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return {}
    from mlflow import MlflowClient  # slow to import, and only needed here
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    try:
        model = client.get_registered_model(REGISTERED_MODEL)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}
        raise
    versions = client.search_model_versions(f"name = '{REGISTERED_MODEL}'")
    return {
        "model": REGISTERED_MODEL,
        "versions": len(versions),
        "aliases": {alias: str(version) for alias, version in sorted(model.aliases.items())},
    }


def as_table(status: dict[str, Any]) -> Table:
    """The status for a terminal."""
    aliases = ", ".join(f"{alias} = version {version}" for alias, version in _aliases(status).items())
    table = Table(
        title=escape(status["home"]),
        caption=escape(aliases) or "nothing registered yet",
        title_justify="left",
    )
    for column in ("asset", "last materialised (UTC)", "health", "what failed"):
        table.add_column(column)
    for asset in status["assets"]:
        failing = [f"check {name}" for name, passed in asset["checks"].items() if passed is False]
        if asset["failed_run"] is not None:
            failing.insert(0, f"run {asset['failed_run']}")
        when = (asset["last_materialized"] or "never").split(".")[0].replace("T", " ")
        style = _STYLES[asset["health"]]
        table.add_row(asset["asset"], when, f"[{style}]{asset['health']}[/{style}]", ", ".join(failing))
    return table


def _aliases(status: dict[str, Any]) -> dict[str, str]:
    aliases: dict[str, str] = status["registry"].get("aliases", {})
    return aliases
