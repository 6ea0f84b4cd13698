"""Profiles: the sizes in which the same graph runs, from a laptop (``tiny``) to a cluster (``7b``)."""

from __future__ import annotations

import json
import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, ValidationError, field_validator, model_validator

from training_jobs.benchmark_settings import BenchmarkSettings
from training_jobs.decoding_settings import FULL_HEAD, DecodingSettings
from training_jobs.mixture_rules import Condition, WeightBy
from training_jobs.spec import Mode, ProfileName, layered, layers_of
from validation.errors import ConfigurationError
from validation.strict import Strict, StrictKeys, explain, read_yaml_mapping
from validation.tasks import RowTask

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")


class TinyBackbone(Strict):
    """Sizes of a base model that is made on the spot, with random weights and a byte-level tokenizer."""

    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    layers: int = Field(gt=0)
    attention_heads: int = Field(gt=0)
    key_value_heads: int = Field(gt=0)
    max_position_embeddings: int = Field(gt=0)

    @model_validator(mode="after")
    def _heads_fit(self) -> TinyBackbone:
        if self.hidden_size % (2 * self.attention_heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} must be an even multiple of attention_heads {self.attention_heads}: "
                "rotary positions turn pairs of values"
            )
        if self.attention_heads % self.key_value_heads:
            raise ValueError(
                f"attention_heads {self.attention_heads} must be a multiple of key_value_heads {self.key_value_heads}"
            )
        return self


class BaseModelSettings(Strict):
    """Where stage 1 starts: a directory in Hugging Face's format, or sizes to make one from."""

    directory: str | None = Field(default=None, description="may name an environment variable as ${NAME}")
    hidden_size: int | None = Field(default=None, gt=0, description="that the directory's model must have")
    make: TinyBackbone | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> BaseModelSettings:
        if (self.directory is None) == (self.make is None):
            raise ValueError("give either 'directory' or 'make'")
        if self.directory is None and self.hidden_size is not None:
            raise ValueError("give 'hidden_size' with 'directory' only: 'make' has its own")
        return self


class AudioTokenizerSettings(Strict):
    """The ``mel_kmeans`` tokenizer's size and how it is trained."""

    kind: Literal["mel_kmeans"]
    sample_rate: Literal["auto", 16_000, 22_050] = Field(
        default="auto", description="auto: 16,000 Hz where every corpus has its view at that rate"
    )
    codes: int = Field(ge=2, le=16_384)
    max_training_seconds: float = Field(gt=0, description="audio drawn at random from the training split")
    iterations: int = Field(gt=0)
    seed: int = Field(ge=0)


class MixtureItem(StrictKeys):
    """How often a pack holds each row of one task (and corpus, where given).

    Drawn once, for the whole stage: 0.5 takes half of the rows, and the others are never seen; 2.5 takes all of them
    twice and half of them once more. ``plan.json`` counts the rows that were not drawn.

    Of several entries for a row, those that name its corpus come first, and of them the first in the list whose
    conditions it meets; where some name its corpus, the others do not speak for it.

    Attributes:
        task: Of the rows; an entry for a file takes rows of every task.
        file: Of the corpus: ``jsonl/<corpus>/train.jsonl`` of the lake, or the file that its rows were read from. Then
            ``min(int(rows * ratio), at_most)`` rows are drawn, as upstream's loader does.
        at_most: Rows to draw.
        dataset: What a mixture file calls it.
        where: Conditions on the row, all of which it must meet.
        weight_by: Which rows are drawn more often than others. ``ratio`` times their number is drawn all the same.
    """

    task: RowTask | None = None
    corpus: str | None = None
    file: str | None = None
    ratio: float = Field(gt=0)
    at_most: int | None = Field(default=None, gt=0)
    dataset: str | None = None
    where: tuple[Condition, ...] = ()
    weight_by: WeightBy | None = None

    @model_validator(mode="after")
    def _of_a_task_or_a_file(self) -> MixtureItem:
        if (self.task is None) == (self.file is None):
            raise ValueError("give either 'task' or 'file'")
        if self.file is not None and (self.corpus is None or self.where or self.weight_by is not None):
            raise ValueError("an entry for a file names its corpus, and has no 'where' and no 'weight_by'")
        if self.at_most is not None and self.file is None:
            raise ValueError("at_most is for entries with a file")
        return self


class MixtureFile(StrictKeys):
    """A mixture in VITA-Audio's form (:mod:`training_jobs.upstream_mixture`), read as it is."""

    file: str = Field(description="YAML with dataset: name -> ratio, num, data_paths; may name ${NAME}")
    root: str | None = Field(
        default=None, description="folder or URL that data_paths are below; null: the file's own folder"
    )


def _form(value: object) -> str | None:
    """Which of its two forms a mixture has, so that only the faults of that one are told."""
    if isinstance(value, list):
        return "[entries]"
    return "[file]" if isinstance(value, dict | MixtureFile) else None


MixtureSettings = Annotated[
    Annotated[list[MixtureItem], Tag("[entries]")] | Annotated[MixtureFile, Tag("[file]")],
    Discriminator(
        _form,
        custom_error_type="mixture",
        custom_error_message="wanted is a list of entries, or the key file with the path of a mixture file",
    ),
]


class EvaluationSettings(Strict):
    """How much is evaluated, and what listens to it.

    Attributes:
        modes: decode modes that the rows are scored in; among them Vanilla, which the others are compared with, and
            Boost, which is served.
        constraint_modes: those of them also decoded with the other ``decoding.constrained``: what does it cost?
        max_rows_per_slice: held-out rows per task, corpus, language and speaker group.
        max_rows_per_standard_set: the same for a standard set; ``None``: all of it.
        reference_rules: also report the figures by VITA-Audio's own rules, beside these and not in the gate.
        asr_model: directory with a CTranslate2 conversion of Whisper that listens to spoken replies, which may name
            an environment variable as ``${NAME}``; ``None``, or a variable that is not set: the model itself only.
        mos: DNSMOS of spoken replies; with ``asr_model``, it needs the extra ``listening``.
    """

    modes: tuple[Mode, ...] = ("vanilla", "boost")
    constraint_modes: tuple[Mode, ...] = ("boost",)
    max_rows_per_slice: int = Field(gt=0)
    max_rows_per_standard_set: int | None = Field(default=None, gt=0)
    max_new_tokens: int = Field(gt=0)
    reference_rules: bool = False
    asr_model: str | None = None
    mos: bool = False

    @field_validator("modes")
    @classmethod
    def _with_those_compared(cls, modes: tuple[Mode, ...]) -> tuple[Mode, ...]:
        if lacking := [mode for mode in ("vanilla", "boost") if mode not in modes]:
            raise ValueError(f"modes {list(modes)} lack {' and '.join(lacking)}")
        if len(set(modes)) < len(modes):
            raise ValueError(f"modes {list(modes)} name one twice")
        return modes

    @model_validator(mode="after")
    def _compared_are_scored(self) -> EvaluationSettings:
        if strangers := [mode for mode in self.constraint_modes if mode not in self.modes]:
            raise ValueError(f"constraint_modes {strangers} are not among modes {list(self.modes)}")
        return self


class ProgramLimits(Strict):
    """When the supervisor ends a program, in seconds."""

    grace_s: float = Field(gt=0, description="from the request to stop until it is killed; a step and a save")
    stall_s: float = Field(gt=0, description="without a line of output: it hangs, and is ended")
    collective_s: float = Field(
        gt=0, description="a training step: then its ranks end and leave their stacks"
    )


class Profile(Strict):
    """Everything that has a size, except the stages' hyper-parameters."""

    name: ProfileName
    base_model: BaseModelSettings
    audio_tokenizer: AudioTokenizerSettings
    mixtures: dict[str, MixtureSettings]
    evaluation: EvaluationSettings
    benchmark: BenchmarkSettings
    decoding: DecodingSettings = FULL_HEAD
    limits: ProgramLimits


def load_profile(name: ProfileName, folder: Path | None = None) -> Profile:
    """The profile ``name`` from ``profiles/<name>.yaml``, over the profile that it makes smaller, if any.

    Raises:
        ConfigurationError: for an unknown key or a value out of range, naming the files.
    """
    folder = folder or Path(str(files("training_jobs") / "profiles"))
    paths = [folder / f"{layer}.yaml" for layer in layers_of(name)]
    values: dict[str, Any] = {}
    for path in paths:
        values = layered(values, read_yaml_mapping(path))
    try:
        return Profile.model_validate(values)
    except ValidationError as error:
        where = " over ".join(str(path) for path in reversed(paths))
        raise ConfigurationError(f"{where}: {explain(error)}") from error


def unset_variable(path: str) -> str | None:
    """The first environment variable that a setting names and that is not set."""
    return next(iter(_VARIABLE.findall(os.path.expandvars(path))), None)


def base_model_directory(settings: BaseModelSettings) -> Path:
    """The published base model's directory, environment variables filled in.

    Raises:
        ConfigurationError: if it is not a directory with a ``config.json``.
    """
    assert settings.directory is not None
    directory = Path(os.path.expandvars(settings.directory))
    if not (directory / "config.json").is_file():
        unset = unset_variable(settings.directory)
        found = (
            f"names ${unset}, which is not set"
            if unset is not None
            else f"is {str(directory)!r}, which has no config.json"
        )
        raise ConfigurationError(
            f"base_model.directory {settings.directory!r} {found}; "
            "set the variable to a directory that holds the Qwen2.5-Instruct model of the profile's size"
        )
    return directory


def position_limit(settings: BaseModelSettings) -> int:
    """Tokens that the base model has positions for.

    Raises:
        ConfigurationError: if the published model is not there, or its ``config.json`` does not say it.
    """
    if settings.make is not None:
        return settings.make.max_position_embeddings
    return _published_number(settings, "max_position_embeddings")


def check_size(settings: BaseModelSettings) -> None:
    """See that the published model is of the profile's size: its variable may still name another one.

    Raises:
        ConfigurationError: if it is not there, its ``config.json`` does not say its width, or it has another.
    """
    if settings.hidden_size is None:
        return
    hidden_size = _published_number(settings, "hidden_size")
    if hidden_size != settings.hidden_size:
        raise ConfigurationError(
            f"base_model.directory {settings.directory!r} is {str(base_model_directory(settings))!r}, whose model has "
            f"hidden_size {hidden_size}; the profile is for {settings.hidden_size}: name the other model or another "
            "profile"
        )


def _published_number(settings: BaseModelSettings, key: str) -> int:
    path = base_model_directory(settings) / "config.json"
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))[key])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(f"{path}: {key} cannot be read: {error!r}") from error
