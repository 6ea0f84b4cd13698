"""Versions of the registered model in MLflow: found by alias, by what they serve, and whether they are still there.

Without torch: assets ask this too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from training_jobs.jobs import Tracking
from training_jobs.tracking_store import REGISTERED_MODEL, connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE, CHAMPION = "candidate", "champion"
DIGEST_TAG = "model_digest"


def version_with(client: MlflowClient, digest: str) -> ModelVersion | None:
    """The version that serves the model with this digest, if there is one."""
    found = client.search_model_versions(f"name='{REGISTERED_MODEL}' and tags.{DIGEST_TAG}='{digest}'")
    return max(found, key=lambda version: int(version.version), default=None)


def is_registered(tracking: Tracking, version: str, digest: str) -> bool:
    """Whether the registry still has this version, of the model with this digest."""
    from mlflow.exceptions import MlflowException

    try:
        found = connect(tracking).get_model_version(REGISTERED_MODEL, version)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return found.tags.get(DIGEST_TAG) == digest


def version_at(client: MlflowClient, alias: str) -> ModelVersion | None:
    """The version behind an alias, if there is one."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(REGISTERED_MODEL, alias)
    except MlflowException as error:
        # SQL stores say of an alias that is not set that the parameter is invalid.
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
