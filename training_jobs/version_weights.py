"""The weights and audio tokenizer of a registered version, as they were registered; or why they are not to be had."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from training_jobs.registered import DIGEST_TAG, is_logged, model_id_of
from training_jobs.weights import WeightsError, locate_weights, model_digest
from validation.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


class LostVersionError(UserError):
    """A version that can be run no more; says why."""


def find_weights(client: MlflowClient, version: ModelVersion, scratch: Path) -> tuple[Path, Path]:
    """Directories of checkpoint and audio tokenizer of a registered version, unchanged since it was registered.

    Args:
        scratch: for copies of what lies in an object store or behind a server; what is on this machine is not copied.

    Raises:
        LostVersionError: if they are gone or have changed.
    """
    from mlflow.models import Model

    folder = _artifacts(client, version, scratch)
    name = f"version {version.version}"
    if not (folder / "MLmodel").is_file():
        raise LostVersionError(f"what MLflow kept of {name} is gone from {folder}")
    flavour = Model.load(str(folder)).flavors["python_function"]
    copies = {part: str(folder / kept["path"]) for part, kept in flavour.get("artifacts", {}).items()}
    for part, place in copies.items():
        if not Path(place).is_dir():
            raise LostVersionError(f"the {part} of {name} is gone from {place}")
    try:
        checkpoint, tokenizer = locate_weights(copies, flavour.get("config"))
    except WeightsError as error:
        raise LostVersionError(str(error)) from error
    if copies:  # what is referred to was checked there
        found, wanted = model_digest(checkpoint, tokenizer), version.tags.get(DIGEST_TAG)
        if found != wanted:
            raise LostVersionError(
                f"the weights of {name} in {folder} have changed: digest {found}, was {wanted}"
            )
    return checkpoint, tokenizer


def _artifacts(client: MlflowClient, version: ModelVersion, scratch: Path) -> Path:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    if not is_logged(version):
        raise LostVersionError(f"version {version.version} was not registered by voxline: {version.source}")
    try:
        location = client.get_logged_model(model_id_of(version)).artifact_location
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise LostVersionError(
                f"MLflow has no model behind version {version.version} any more"
            ) from error
        raise
    parts = urlsplit(location)
    if parts.scheme in ("", "file"):
        return Path(unquote(parts.path))
    # An object store that does not answer is no lost champion: the error ends the program, and the run tries again.
    return Path(download_artifacts(artifact_uri=location, dst_path=str(scratch)))
