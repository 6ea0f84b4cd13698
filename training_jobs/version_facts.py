"""All that is known of a registered version, gathered for its report from what the programs have left.

Nothing is computed again. What is not there stays ``None``, and the page says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from training_jobs.history import HISTORY_FILE, History
from training_jobs.jobs import VersionReportJob, read_result
from training_jobs.lineage import ROWS_FILE, json_file
from training_jobs.trained_on import TrainedStage, beside, stages_of
from training_jobs.version_data import DataFacts, data_facts
from training_jobs.version_samples import MODE, Samples, samples_of
from validation.lake import Lake

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PLOTS = {
    "first_sound.png": "Time from the end of the question to the first chunk and to the first sound, by decode mode "
    "and length of prompt: medians, with a line to p95",
    "tokens_per_second.png": "Median tokens per second by decode mode and length of prompt, with and without prefill",
}
_NO_EVALUATION = "there is no evaluation of this version here"


@dataclass(frozen=True)
class StageFacts:
    """A stage of the version, and its history; ``None`` where that is gone."""

    stage: TrainedStage
    history: History | None


@dataclass(frozen=True)
class VersionFacts:
    """What the page is made from.

    Attributes:
        tags, aliases, description: of the version in the registry, when the page was made (``made_at``, UTC).
        metrics: that the version's run keeps.
        registration: ``result.json`` of the registration, with the gate's decision; ``None`` where it is not of this
            home; likewise ``evaluation`` and ``latency``.
        profile: which one of the home's it was made with.
        base: result of the base model's step.
        settings: of the evaluation.
        plots: the benchmark's PNG files by name.
        absent: what could not be looked at, and why.
    """

    version: str
    registered_model: str
    created_at: str | None
    made_at: str
    run_id: str | None
    tags: Mapping[str, str]
    aliases: Sequence[str]
    metrics: Mapping[str, float]
    registration: Mapping[str, Any] | None = None
    evaluation: Mapping[str, Any] | None = None
    latency: Mapping[str, Any] | None = None
    profile: str | None = None
    base: Mapping[str, Any] | None = None
    stages: Sequence[StageFacts] = ()
    data: DataFacts = field(default_factory=DataFacts)
    settings: Mapping[str, Any] = field(default_factory=dict)
    plots: Mapping[str, bytes] = field(default_factory=dict)
    samples: Samples = field(default_factory=lambda: Samples([], "", _NO_EVALUATION))


def registration_of(training: Path, version: str, digest: str | None) -> Path | None:
    """The last registration of a version below ``<home>/training``, of whatever profile.

    Args:
        digest: of the model that the registry has under this number: another registry's version 1 is another model.
    """
    found = []
    for path in training.glob("*/registered_model/*/"):
        result = read_result(path)
        if result is not None and (str(result["version"]), result.get("model_digest")) == (version, digest):
            found.append((path.joinpath("result.json").stat().st_mtime, path))
    return max(found)[1] if found else None


def gather(job: VersionReportJob, client: MlflowClient, version: ModelVersion) -> VersionFacts:
    """Everything about ``version``."""
    registered = VersionFacts(
        version=str(version.version),
        registered_model=str(version.name),
        created_at=_time(version.creation_timestamp),
        made_at=_time(None) or "",
        run_id=version.run_id or None,
        tags=dict(version.tags),
        aliases=sorted(version.aliases),
        metrics=_metrics(client, version),
    )
    place = job.registration_dir
    told = {} if place is None else json_file(place / "job.json")
    if place is None or not told:
        return registered
    evaluation_dir, benchmark_dir = (
        beside(place, Path(told[name])) for name in ("evaluation_dir", "benchmark_dir")
    )
    stages = stages_of(beside(place, Path(told["model_dir"]).parent))
    lake = Lake(job.lake)
    return replace(
        registered,
        registration=read_result(place),
        evaluation=read_result(evaluation_dir),
        latency=read_result(benchmark_dir),
        profile=place.parents[1].name,
        base=next((stage.result for stage in stages if stage.packs_dir is None), None),
        stages=[_stage(stage) for stage in stages if stage.packs_dir is not None],
        data=data_facts(lake, stages, told.get("corpora", []), _is_same(job, stages)),
        settings=told.get("evaluation", {}),
        plots={
            name: (benchmark_dir / name).read_bytes() for name in PLOTS if (benchmark_dir / name).is_file()
        },
        samples=_samples(evaluation_dir, lake, _tokenizer_dir(place, told)),
    )


def _stage(stage: TrainedStage) -> StageFacts:
    history = json_file(stage.directory / HISTORY_FILE)
    return StageFacts(stage, History.from_json(history) if history else None)


def _samples(evaluation_dir: Path, lake: Lake, tokenizer_dir: Path) -> Samples:
    path = evaluation_dir / ROWS_FILE
    if not path.is_file():
        return Samples([], "", "the evaluation's answers are not there any more")
    table = pl.scan_parquet(path).filter(pl.col("mode") == MODE).collect()
    return samples_of(table, lake, tokenizer_dir)


def _tokenizer_dir(place: Path, told: Mapping[str, Any]) -> Path:
    named = Path(told["tokenizer_dir"])
    return beside(place, named.parent) / named.name


def _is_same(job: VersionReportJob, stages: Sequence[TrainedStage]) -> bool | None:
    """Whether the lake's training rows are those that the last stage was started on."""
    then = stages[-1].job.get("tracking", {}).get("tags", {}).get("data_digest") if stages else None
    if then is None or job.lake_data_digest is None:
        return None
    return bool(then == job.lake_data_digest)


def _metrics(client: MlflowClient, version: ModelVersion) -> dict[str, float]:
    from mlflow.exceptions import MlflowException

    if not version.run_id:
        return {}
    try:
        return dict(client.get_run(version.run_id).data.metrics)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}


def _time(milliseconds: int | None) -> str | None:
    moment = datetime.now(UTC) if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.strftime("%Y-%m-%d %H:%M UTC")
