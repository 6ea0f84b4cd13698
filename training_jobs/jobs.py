"""What a program is told to do: one JSON file per launch, typed, with unknown keys refused.

A program is started as ``python -m training_jobs.<program> JOB.json`` and leaves its figures in
``<output_dir>/result.json``, written last and atomically: the file's presence says that the job is done.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, ValidationError, model_validator

from training_jobs.benchmark_settings import BenchmarkSettings
from training_jobs.decoding_settings import FULL_HEAD, DecodingSettings
from training_jobs.profile import (
    AudioTokenizerSettings,
    BaseModelSettings,
    EvaluationSettings,
    MixtureItem,
    ProgramLimits,
)
from training_jobs.spec import Stage, StageSpec
from validation.atomic import write_text
from validation.errors import ConfigurationError
from validation.strict import Strict, explain

RESULT_FILE = "result.json"
CPU = "CPU"  # what a device is called that is no GPU


def tracking_uri_without_secrets(uri: str) -> str:
    """``uri`` itself: it is written to job files and shown on pages, so it must not hold a password.

    Raises:
        ConfigurationError: saying where a user and a password are to be given; the password is not repeated.
    """
    parts = urlsplit(uri)
    is_server = parts.scheme in ("http", "https")
    if parts.password is None and not (is_server and parts.username is not None):
        return uri
    instead = (
        "$MLFLOW_TRACKING_USERNAME and $MLFLOW_TRACKING_PASSWORD"
        if is_server
        else "the database driver's own configuration"
    )
    raise ConfigurationError(
        f"the MLflow tracking URI ({parts.scheme}://…@{parts.hostname}) names a user or a password, which "
        f"would be written to files in plain text: give them in {instead}"
    )


class Tracking(Strict):
    """Where experiments are kept, and what every MLflow run is tagged with (DESIGN §7).

    It is written to job files as it is, so it holds no secrets.
    """

    # The value that is refused is not to be shown.
    model_config = ConfigDict(hide_input_in_errors=True)

    uri: str
    artifact_root: str
    tags: dict[str, str] = Field(description="profile, Dagster run id, git commit, data and tokenizer digest")

    @model_validator(mode="after")
    def _without_secrets(self) -> Tracking:
        tracking_uri_without_secrets(self.uri)
        return self


class FitTokenizerJob(Strict):
    """Train the audio tokenizer on the training split; output: ``<output_dir>/tokenizer/``.

    Where ``given`` names one, that of imported weights, it is taken as it is.
    """

    lake: str
    corpora: list[str]
    settings: AudioTokenizerSettings
    given: Path | None = None
    output_dir: Path


class TokenizeJob(Strict):
    """Encode the accepted audio of ``corpora`` into the table ``audio_tokens``."""

    lake: str
    tokenizer_dir: Path
    corpora: list[str]
    output_dir: Path


class BaseModelJob(Strict):
    """Make or check the model that stage 1 starts from, its vocabulary extended; output: ``<output_dir>/model/``."""

    settings: BaseModelSettings
    audio_codes: int
    seed: int
    output_dir: Path


class PackJob(Strict):
    """Pack one mixture's rows; output: ``<output_dir>/*.npy`` and ``plan.json``."""

    lake: str
    corpora: list[str]
    model_dir: Path = Field(description="for its text tokenizer")
    tokenizer_digest: str
    mixture: list[MixtureItem]
    ratio: tuple[int, ...]
    sequence_length: int
    seed: int
    over_long: Literal["ledger", "cut"] = "ledger"
    output_dir: Path


class TrainJob(Strict):
    """Train one stage; output: ``<output_dir>/model/`` (weights, config, text tokenizer), with its digest."""

    spec: StageSpec
    start_dir: Path
    start_digest: str = Field(description="of the files in start_dir, taken when they were written")
    packs_dir: Path
    output_dir: Path
    tracking: Tracking
    limits: ProgramLimits


class EvaluateJob(Strict):
    """Score a checkpoint on the held-out rows; output: ``<output_dir>/rows.parquet`` and ``scores.parquet``."""

    lake: str
    corpora: list[str]
    standard_sets: list[str] = Field(default=[], description="those of corpora that are standard sets")
    model_dir: Path
    tokenizer_dir: Path
    ratio: tuple[int, ...]
    settings: EvaluationSettings
    decoding: DecodingSettings = FULL_HEAD
    seed: int
    output_dir: Path
    tracking: Tracking


class BenchmarkJob(Strict):
    """Measure the latency of every decode mode; output: ``<output_dir>/latency.json``."""

    lake: str
    corpora: list[str]
    model_dir: Path
    tokenizer_dir: Path
    ratio: tuple[int, ...]
    settings: BenchmarkSettings
    decoding: DecodingSettings = FULL_HEAD
    output_dir: Path
    tracking: Tracking


class RegisterJob(Strict):
    """Register a checkpoint with its scores, and promote it if the gate holds.

    Against a champion, both are run on the held-out rows of ``corpora`` as in evaluation and benchmark.
    """

    lake: str
    corpora: list[str]
    standard_sets: list[str] = Field(default=[], description="those of corpora that are standard sets")
    model_dir: Path
    tokenizer_dir: Path
    ratio: tuple[int, ...]
    evaluation: EvaluationSettings
    benchmark: BenchmarkSettings
    decoding: DecodingSettings = FULL_HEAD
    seed: int
    evaluation_dir: Path
    benchmark_dir: Path
    output_dir: Path
    tracking: Tracking


class VersionReportJob(Strict):
    """Write the page of a registered version below ``home``, and attach it to the version in MLflow."""

    version: str
    home: Path
    lake: str
    registration_dir: Path | None = Field(description="that has registered it; null: it is not of this home")
    lake_data_digest: str | None = Field(description="of the lake's training rows; null: there are none")
    output_dir: Path
    tracking: Tracking


class MeasuredStage(Strict):
    """The speed of a stage that has been trained."""

    stage: Stage
    tokens_per_second: float = Field(gt=0, description="of all ranks together")
    ranks: int = Field(gt=0)
    device: str = Field(default="", description="CPU, or a GPU's name; empty: it was not recorded")


class PreflightJob(Strict):
    """Reckon what the stages need, before anything is trained; output: ``<output_dir>/result.json`` alone."""

    specs: list[StageSpec]
    base_model: BaseModelSettings
    audio_codes: int
    gpus: int | None = Field(default=None, gt=0, description="null: those of this machine, else its CPUs")
    gpu_memory_gib: float = Field(gt=0, description="of each GPU, where this machine has none to ask")
    tokens_per_second: float | None = Field(
        default=None, gt=0, description="of all ranks together, in the first stage; null: see measured"
    )
    measured: list[MeasuredStage] = Field(description="the home's own stages, in order")
    home: Path
    output_dir: Path


JobT = TypeVar("JobT", bound=Strict)


def write_job(job: Strict, path: Path) -> Path:
    """Write the job where its program will read it."""
    write_text(path, job.model_dump_json(indent=1))
    return path


def read_job(kind: type[JobT], path: Path) -> JobT:
    """Read a job file.

    Raises:
        ConfigurationError: naming the file, the entry and the value.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {explain(error)}") from error


def write_result(output_dir: Path, result: dict[str, Any]) -> None:
    """Say that the job is done, and what came out."""
    write_text(output_dir / RESULT_FILE, json.dumps(result, indent=1, sort_keys=True, ensure_ascii=False))


def read_result(output_dir: Path) -> dict[str, Any] | None:
    """The result of a finished job; ``None`` where it has not finished."""
    path = output_dir / RESULT_FILE
    if not path.is_file():
        return None
    value = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value
