"""A version's figures: what evaluation and benchmark found, as metrics that its run keeps, and read back from there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from training_jobs.gate import Figures
from validation.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

# What a version's figures were taken on: the machine, and the rows.
HARDWARE_TAG = "hardware_digest"
HELD_OUT_TAG = "held_out_digest"
_FIRST_CHUNK = "boost/first_chunk_ms_p50"


class RegistrationError(UserError):
    """Something that a registration needs and that is not there; names the directory."""


def figures_to_metrics(evaluation: Mapping[str, Any], latency: Mapping[str, Any]) -> dict[str, float]:
    """``<mode>/<figure>`` to value: what a version keeps."""
    metrics: dict[str, float] = {}
    for mode, figures in evaluation["overall"].items():
        metrics |= {f"{mode}/{name}": value for name, value in figures.items()}
    for mode, figures in latency["modes"].items():
        metrics |= {
            f"{mode}/{name}": value for name, value in figures.items() if isinstance(value, int | float)
        }
    return metrics


def metrics_to_figures(metrics: Mapping[str, float], tags: Mapping[str, str]) -> Figures:
    """What the gate looks at, from a version's metrics and tags."""

    def scores(mode: str) -> dict[str, float]:
        prefix = f"{mode}/"
        return {
            name.removeprefix(prefix): value
            for name, value in metrics.items()
            if name.startswith(prefix) and name.endswith(("_wer", "_exact"))
        }

    suffix = "/tokens_per_second_p50"
    return Figures(
        scores=scores("boost"),
        vanilla_scores=scores("vanilla"),
        tokens_per_second={
            name.removesuffix(suffix): value for name, value in metrics.items() if name.endswith(suffix)
        },
        first_chunk_ms=metrics[_FIRST_CHUNK],
        hardware=tags.get(HARDWARE_TAG, ""),
        held_out=tags.get(HELD_OUT_TAG, ""),
    )


def noted_figures(client: MlflowClient, version: ModelVersion) -> tuple[Figures, Mapping[str, float]] | None:
    """A registered version's figures and metrics; ``None`` where its run or they are gone, or never were."""
    from mlflow.exceptions import MlflowException

    try:
        metrics = client.get_run(version.run_id).data.metrics if version.run_id else {}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return (metrics_to_figures(metrics, version.tags), metrics) if _FIRST_CHUNK in metrics else None
