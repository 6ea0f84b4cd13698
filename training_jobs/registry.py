"""Versions of the registered model in MLflow: found by what they serve, made, and described."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from training_jobs.jobs import Tracking
from training_jobs.tracking_store import REGISTERED_MODEL, connect, quiet_mlflow
from training_jobs.weights import COPY_LIMIT_BYTES, PARTS, directory_bytes, reference_to

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE, CHAMPION = "candidate", "champion"
DIGEST_TAG = "model_digest"
WEIGHTS_TAG = "weights"

_MODELS_URI = "models:/"
_REQUIREMENTS = ("mlflow", "numpy", "pandas", "safetensors", "soundfile", "torch", "transformers")
_PYFUNC = Path(__file__).with_name("speech_pyfunc.py")


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


def model_id_of(version: ModelVersion) -> str:
    """The logged model behind a version; SQL stores keep it in the version's source only."""
    assert version.source is not None and version.source.startswith(_MODELS_URI), version
    return version.source.removeprefix(_MODELS_URI)


def create_version(
    tracking_uri: str,
    run_id: str,
    checkpoint: Path,
    tokenizer: Path,
    tags: Mapping[str, str],
    copy_limit_bytes: int = COPY_LIMIT_BYTES,
) -> ModelVersion:
    """Log the model from code in the run ``run_id`` and register it with ``tags``.

    Weights of up to ``copy_limit_bytes`` are copied to the run's artifacts. Bigger ones stay where they are, and the
    version refers to them by place and digest: no upload, and one copy on disk.
    """
    quiet_mlflow()
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec

    from training_jobs.serving import ServingParams

    defaults = ServingParams()
    kinds = {str: "string", int: "long", bool: "boolean"}
    params = [ParamSpec(name, kinds[type(value)], value) for name, value in vars(defaults).items()]
    is_copied = directory_bytes(checkpoint) + directory_bytes(tokenizer) <= copy_limit_bytes
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    with mlflow.start_run(run_id=run_id), warnings.catch_warnings():
        # An example would be predicted at this point, only to infer inputs that are checked by the model's code.
        warnings.filterwarnings("ignore", message=".*input example was not provided")
        logged = mlflow.pyfunc.log_model(
            name=REGISTERED_MODEL,
            python_model=str(_PYFUNC),
            artifacts=dict(zip(PARTS, map(str, (checkpoint, tokenizer)), strict=True)) if is_copied else None,
            model_config=None if is_copied else reference_to(checkpoint, tokenizer),
            # Without inputs: a data frame, a list and a single path are all taken, and checked by the model's code.
            signature=ModelSignature(params=ParamSchema(params)),
            pip_requirements=_requirements(),
        )
        weights = {WEIGHTS_TAG: "copied" if is_copied else "by_reference"}
        # Tags go with the creation: a version is never there without the digest it is found again by.
        return mlflow.register_model(
            f"{_MODELS_URI}{logged.model_id}", REGISTERED_MODEL, tags={**tags, **weights}
        )


def _requirements() -> list[str]:
    """What the model's code imports, in this environment's versions (without a build's local tag)."""
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in _REQUIREMENTS]
