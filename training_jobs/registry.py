"""Versions of the registered model in MLflow: made, and described."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from training_jobs.decoding_settings import FULL_HEAD, DecodingSettings
from training_jobs.registered import MODELS_URI
from training_jobs.tracking_store import REGISTERED_MODEL, quiet_mlflow
from training_jobs.weights import COPY_LIMIT_BYTES, DECODING, PARTS, directory_bytes, reference_to

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

WEIGHTS_TAG = "weights"

_REQUIREMENTS = ("mlflow", "numpy", "pandas", "safetensors", "soundfile", "torch", "transformers")
_PYFUNC = Path(__file__).with_name("speech_pyfunc.py")


def create_version(
    tracking_uri: str,
    run_id: str,
    checkpoint: Path,
    tokenizer: Path,
    tags: Mapping[str, str],
    copy_limit_bytes: int = COPY_LIMIT_BYTES,
    *,
    decoding: DecodingSettings = FULL_HEAD,
) -> ModelVersion:
    """Log the model from code in the run ``run_id`` and register it with ``tags``.

    Weights of up to ``copy_limit_bytes`` are copied to the run's artifacts. Bigger ones stay where they are, and the
    version refers to them by place and digest: no upload, and one copy on disk. Requests are decoded by ``decoding``
    where they do not say it.
    """
    quiet_mlflow()
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec

    from training_jobs.serving import ServingParams

    defaults = ServingParams(constrained=decoding.constrained)
    kinds = {str: "string", int: "long", bool: "boolean"}
    params = [ParamSpec(name, kinds[type(value)], value) for name, value in vars(defaults).items()]
    is_copied = directory_bytes(checkpoint) + directory_bytes(tokenizer) <= copy_limit_bytes
    references = {} if is_copied else reference_to(checkpoint, tokenizer)
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    with mlflow.start_run(run_id=run_id), warnings.catch_warnings():
        # An example would be predicted at this point, only to infer inputs that are checked by the model's code.
        warnings.filterwarnings("ignore", message=".*input example was not provided")
        logged = mlflow.pyfunc.log_model(
            name=REGISTERED_MODEL,
            python_model=str(_PYFUNC),
            artifacts=dict(zip(PARTS, map(str, (checkpoint, tokenizer)), strict=True)) if is_copied else None,
            model_config={DECODING: decoding.model_dump(), **references},
            # Without inputs: a data frame, a list and a single path are all taken, and checked by the model's code.
            signature=ModelSignature(params=ParamSchema(params)),
            pip_requirements=_requirements(),
        )
        weights = {WEIGHTS_TAG: "copied" if is_copied else "by_reference"}
        # Tags go with the creation: a version is never there without the digest it is found again by.
        return mlflow.register_model(
            f"{MODELS_URI}{logged.model_id}", REGISTERED_MODEL, tags={**tags, **weights}
        )


def _requirements() -> list[str]:
    """What the model's code imports, in this environment's versions (without a build's local tag)."""
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in _REQUIREMENTS]
