"""The MLflow store: connecting to it, and making its tables and experiments, once, whoever comes first.

MLflow is imported inside the functions: it takes seconds, and many readers of this module never need it.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from training_jobs.jobs import Tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient

Experiment = Literal["voxline/training", "voxline/evaluation", "voxline/latency"]
EXPERIMENTS: tuple[Experiment, ...] = get_args(Experiment)
REGISTERED_MODEL = "vita-audio-mctp"  # DESIGN §7

_SQLITE = "sqlite:///"


def quiet_mlflow() -> None:
    """Keep MLflow from calling home and from narrating what it does; for before its first import."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)


def connect(tracking: Tracking) -> MlflowClient:
    """A client of the tracking store and registry at ``tracking.uri``; a new SQLite file gets its tables.

    Several processes may call this at the same time on a file that does not exist yet.
    """
    quiet_mlflow()
    from mlflow import MlflowClient

    with _store_lock(tracking.uri):
        client = MlflowClient(tracking_uri=tracking.uri, registry_uri=tracking.uri)
        # The client connects lazily; this first query makes the tables while the lock is held.
        client.search_experiments(max_results=1)
    return client


def prepare_store(tracking: Tracking) -> None:
    """Make the store's tables and the three experiments of DESIGN §7, where they are missing.

    Worth calling before an MLflow server is started on a new SQLite file: the server takes no lock.
    """
    client = connect(tracking)
    for name in EXPERIMENTS:
        ensure_experiment(client, tracking, name)


def ensure_experiment(client: MlflowClient, tracking: Tracking, name: Experiment) -> str:
    """The id of the experiment ``name``, made under ``tracking.artifact_root`` or restored where needed."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(
                client.create_experiment(
                    name,
                    # Of its own, so that a client without a server and a server show the same files.
                    artifact_location=_location(tracking.artifact_root, name),
                    # Without it MLflow's pages open in their mode for chat traces.
                    tags={"mlflow.experimentKind": "custom_model_development"},
                )
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
            assert found is not None
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _location(artifact_root: str, name: str) -> str:
    folder = name.replace("/", "-")
    if "://" in artifact_root:
        return f"{artifact_root.rstrip('/')}/{folder}"
    return (Path(artifact_root).resolve() / folder).as_uri()


@contextmanager
def _store_lock(uri: str) -> Iterator[None]:
    """Held while a SQLite store may be made: MLflow's migrations fail when two processes run them at once."""
    if not uri.startswith(_SQLITE):
        yield
        return
    database = Path(uri.removeprefix(_SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f".{database.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file closes, also by kill -9
        yield
