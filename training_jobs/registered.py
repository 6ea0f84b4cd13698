"""Versions of the registered model in MLflow: found by alias, by what they serve, and whether they are still there.

Without torch: assets ask this too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from training_jobs.decoding_settings import DecodingSettings, decoding_of_tag
from training_jobs.jobs import Tracking
from training_jobs.tracking_store import REGISTERED_MODEL, connect
from validation.local_files import turn_at

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"
DIGEST_TAG = "model_digest"
DECODING_TAG = "decoding"  # DecodingSettings.tag()
RATIO_TAG = "interleaving_ratio"  # numbers with spaces between them

MODELS_URI = "models:/"
_SQLITE = "sqlite:///"


def is_logged(version: ModelVersion) -> bool:
    """Whether a logged model is behind a version, as behind each of ours."""
    return version.source is not None and version.source.startswith(MODELS_URI)


def model_id_of(version: ModelVersion) -> str:
    """The logged model behind a version; SQL stores keep it in the version's source only."""
    assert is_logged(version) and version.source is not None, version
    return version.source.removeprefix(MODELS_URI)


def version_with(client: MlflowClient, digest: str, decoding: DecodingSettings) -> ModelVersion | None:
    """The version that serves the model with this digest in this way, if there is one; the first of several."""
    found = client.search_model_versions(f"name='{REGISTERED_MODEL}' and tags.{DIGEST_TAG}='{digest}'")
    same = [version for version in found if decoding_of(version) == decoding]
    return min(same, key=lambda version: int(version.version), default=None)


def decoding_of(version: ModelVersion) -> DecodingSettings:
    """How a version decodes where it is served, and hence where it is compared."""
    return decoding_of_tag(version.tags.get(DECODING_TAG))


def serves_as(version: ModelVersion, digest: str, decoding: DecodingSettings) -> bool:
    """Whether a version serves the model with this digest in this way."""
    return version.tags.get(DIGEST_TAG) == digest and decoding_of(version) == decoding


def is_registered(tracking: Tracking, version: str, digest: str) -> bool:
    """Whether the registry still has this version, of the model with this digest."""
    found = version_numbered(connect(tracking), version)
    return found is not None and found.tags.get(DIGEST_TAG) == digest


def version_numbered(client: MlflowClient, version: str) -> ModelVersion | None:
    """The version of this number, if there is one."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version(REGISTERED_MODEL, version)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


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


def set_alias(client: MlflowClient, alias: str, version: ModelVersion) -> None:
    """Let an alias stand for a version."""
    _settled(lambda: client.set_registered_model_alias(REGISTERED_MODEL, alias, version.version))


def set_tags(client: MlflowClient, version: ModelVersion, tags: Mapping[str, str]) -> None:
    """Set tags of a version."""
    for name, value in tags.items():
        _settled(partial(client.set_model_version_tag, REGISTERED_MODEL, version.version, name, value))


def _settled(write: Callable[[], object]) -> None:
    """Of two processes that set the same new name at once, the database refuses one; the second try finds it there."""
    from mlflow.exceptions import MlflowException

    try:
        write()
    except MlflowException:
        write()


@contextmanager
def registry_turn(uri: str) -> Iterator[None]:
    """One process at a time changes versions and aliases of a SQLite store; behind a server there is no such lock."""
    if not uri.startswith(_SQLITE):
        yield
        return
    database = Path(uri.removeprefix(_SQLITE))
    with turn_at(database.with_name(f".{database.name}.registry.lock")):
        yield
