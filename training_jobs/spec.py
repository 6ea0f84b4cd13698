"""Stage specs: every hyper-parameter of a training stage, once, with the profiles' sizes over the 7b values."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, JsonValue, ValidationError, model_validator

from models.interleaving import interleave
from validation.errors import ConfigurationError
from validation.strict import Strict, explain, read_yaml_mapping

Stage = Literal["text_audio_alignment", "single_mctp", "multi_mctp", "sft"]
ProfileName = Literal["tiny", "0.5b", "1.5b", "7b", "debug"]
Mode = Literal["vanilla", "balance", "boost", "turbo"]  # of decoding, from no speculation to most (DESIGN §5)
STAGES: tuple[Stage, ...] = get_args(Stage)
PROFILES: tuple[ProfileName, ...] = get_args(ProfileName)
MODES: tuple[Mode, ...] = get_args(Mode)
# A profile here says only in what it differs from the other: `debug`, for tests, from `tiny`, and two models from 7b's.
_SMALLER_THAN: dict[ProfileName, ProfileName] = {"debug": "tiny", "0.5b": "7b", "1.5b": "7b"}
COMMON_FILE = "common.yaml"
# The graph follows these, and is the same in every profile.
_SAME_EVERYWHERE = ("stage", "starts_from", "description")
# Of a field that changes how a stage is run and not what comes out of it: no digest is made from it.
_DECIDES_NOTHING: dict[str, JsonValue] = {"decides": False}


class Curriculum(Strict):
    """The modules' losses come in one after another, from the nearest token ahead to the farthest."""

    until_share: float = Field(
        gt=0, le=1, description="share of the steps after which all modules weigh the same"
    )


class Explosion(Strict):
    """When a loss or a gradient that is still a number ends the stage (:mod:`training_jobs.divergence`)."""

    window: int = Field(ge=8, description="steps before, whose median says what is usual")
    nats: float = Field(gt=0, description="above the median of the losses, at least")
    deviations: float = Field(gt=0, description="above it, at least, in medians of the absolute deviations")
    gradient_factor: float = Field(gt=1, description="of the median of the gradient norms")
    in_a_row: int = Field(gt=0, description="steps that must be so")


class StageSpec(Strict):
    """Hyper-parameters of one stage (DESIGN §5).

    What is marked as deciding nothing may be changed while a stage runs, and makes nothing stale.
    """

    stage: Stage
    description: str = Field(
        description="what people read beside the stage", json_schema_extra=_DECIDES_NOTHING
    )
    starts_from: Literal["base_model"] | Stage
    mctp_modules: int = Field(ge=0, le=32)
    trainable: Literal["all", "mctp"]
    learning_rate: float = Field(gt=0)
    mctp_learning_rate_factor: float = Field(default=1.0, gt=0)
    weight_decay: float = Field(ge=0)
    steps: int = Field(gt=0)
    sequence_length: int = Field(ge=64, description="tokens of one packed row")
    micro_batch: int = Field(gt=0, description="packed rows per rank and forward pass")
    batch_rows: int = Field(gt=0, description="packed rows of a step, over all ranks and forward passes")
    adam_beta1: float = Field(gt=0, lt=1)
    adam_beta2: float = Field(gt=0, lt=1)
    adam_epsilon: float = Field(gt=0)
    clip: float = Field(gt=0, description="largest norm of the gradient")
    warmup_share: float = Field(ge=0, lt=1, description="share of the steps")
    final_learning_rate_share: float = Field(ge=0, le=1, description="of the peak, at the end of the cosine")
    mtp_loss_weight: float = Field(ge=0)
    reference_boundaries: bool = Field(description="labels cross sample boundaries as upstream's do")
    curriculum: Curriculum | None = Field(
        description="null: all modules weigh the same from the first step on"
    )
    gradient_checkpointing: bool = Field(json_schema_extra=_DECIDES_NOTHING)
    attention: Literal["auto", "eager", "sdpa", "windowed", "flex", "varlen", "flash_attention_2"] = Field(
        description="auto: the fastest that the device has", json_schema_extra=_DECIDES_NOTHING
    )
    zero_stage: Literal[1, 2, 3] = Field(
        description="what DeepSpeed shards: optimizer state, gradients too, weights too",
        json_schema_extra=_DECIDES_NOTHING,
    )
    offload: Literal["none", "optimizer", "weights"] = Field(
        description="what lies in the host's memory; weights: the optimizer state, too",
        json_schema_extra=_DECIDES_NOTHING,
    )
    precision: Literal["auto", "float32", "bfloat16"]
    seed: int = Field(ge=0)
    explosion: Explosion | None = Field(
        description="null: only what is not a number ends a stage", json_schema_extra=_DECIDES_NOTHING
    )
    checkpoints: int = Field(
        gt=0, description="how many times to save, evenly spaced", json_schema_extra=_DECIDES_NOTHING
    )
    keep_checkpoints: int = Field(gt=0, description="the last ones", json_schema_extra=_DECIDES_NOTHING)
    keep_milestones: bool = Field(
        description="save after each tenth of the steps, too, and keep those to the end",
        json_schema_extra=_DECIDES_NOTHING,
    )
    ratio: tuple[int, ...] = Field(description="text and audio counts in turn, of the interleaving")
    mixture: str = Field(description="name of the profile's mixture")
    over_long: Literal["ledger", "cut"] = Field(
        description="samples longer than a row: left out and written down, or cut after the last turn that fits"
    )
    processes: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        description="ranks per machine; auto: as many as there are GPUs for and batch_rows can be dealt out to",
        json_schema_extra=_DECIDES_NOTHING,
    )

    @model_validator(mode="after")
    def _consistent(self) -> StageSpec:
        if self.mctp_modules == 0 and self.trainable == "mctp":
            raise ValueError(f"stage {self.stage} trains MCTP modules only, but mctp_modules is 0")
        if self.mctp_modules == 0 and self.curriculum is not None:
            raise ValueError(f"stage {self.stage} has a curriculum of MCTP modules, but mctp_modules is 0")
        if self.batch_rows % self.micro_batch:
            raise ValueError(
                f"batch_rows {self.batch_rows} is not a multiple of micro_batch {self.micro_batch}"
            )
        if self.offload == "weights" and self.zero_stage != 3:
            raise ValueError(f"offload weights needs zero_stage 3, but zero_stage is {self.zero_stage}")
        order = ("base_model", *STAGES)
        if order.index(self.starts_from) >= order.index(self.stage):
            raise ValueError(
                f"stage {self.stage} starts from {self.starts_from}; it may start from one of "
                f"{list(order[: order.index(self.stage)])}"
            )
        # It refuses a ratio by which no reply can be laid out.
        interleave((), (), self.ratio, begin_id=0, end_id=0)
        return self

    def decisive(self) -> dict[str, Any]:
        """The values that the outcome depends on, as JSON values: what digests are made from."""
        return self.model_dump(exclude=undeciding_fields())

    def accumulation(self, world_size: int) -> int:
        """Forward passes per rank and step, so that ``world_size`` ranks see ``batch_rows`` rows in each step.

        Raises:
            ConfigurationError: if the rows cannot be dealt out evenly, naming the numbers of ranks that could.
        """
        per_rank, rest = divmod(self.batch_rows // self.micro_batch, world_size)
        if rest:
            raise ConfigurationError(
                f"stage {self.stage}: batch_rows {self.batch_rows} in micro batches of {self.micro_batch} cannot be "
                f"dealt out evenly to {world_size} ranks; possible are {self.world_sizes()}"
            )
        return per_rank

    def world_sizes(self) -> list[int]:
        """The numbers of ranks that a step's rows can be dealt out to, rising."""
        batches = self.batch_rows // self.micro_batch
        return [ranks for ranks in range(1, batches + 1) if batches % ranks == 0]


def undeciding_fields() -> set[str]:
    """Fields of a spec that change how a stage is run, and not what comes out of it."""
    extras = {name: field.json_schema_extra for name, field in StageSpec.model_fields.items()}
    return {name for name, extra in extras.items() if extra == _DECIDES_NOTHING}


def layers_of(profile: ProfileName) -> tuple[ProfileName, ...]:
    """The profiles whose values make up ``profile``; later ones win."""
    return (_SMALLER_THAN[profile], profile) if profile in _SMALLER_THAN else (profile,)


def layered(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """``below`` with the values of ``above`` over it; mappings in both are layered in the same way."""
    merged = dict(below)
    for key, value in above.items():
        lower = merged.get(key)
        merged[key] = (
            layered(lower, value) if isinstance(lower, Mapping) and isinstance(value, Mapping) else value
        )
    return merged


def load_stage(stage: Stage, profile: ProfileName, folder: Path | None = None) -> StageSpec:
    """The spec of ``stage``: what all stages share, its own 7b values, and the profile's of both, in this order.

    Raises:
        ConfigurationError: for an unknown key, profile or value out of range, naming the file.
    """
    folder = folder or Path(str(files("training_jobs") / "stages"))
    path = folder / f"{stage}.yaml"
    common, common_profiles = _read(folder / COMMON_FILE)
    own, own_profiles = _read(path)
    values = layered(common, own)
    for name in layers_of(profile):
        values = layered(layered(values, common_profiles.get(name, {})), own_profiles.get(name, {}))
    try:
        spec = StageSpec.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(f"{path} over {COMMON_FILE}, profile {profile}: {explain(error)}") from error
    if spec.stage != stage:
        raise ConfigurationError(f"{path}: stage: got {spec.stage!r}; the file's name says {stage!r}")
    return spec


def _read(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The 7b values of a file, and those of the profiles."""
    values = read_yaml_mapping(path)
    profiles = values.pop("profiles", {})
    if not isinstance(profiles, dict) or not all(isinstance(values, dict) for values in profiles.values()):
        raise ConfigurationError(f"{path}: profiles: got {profiles!r:.120}; wanted are values per profile")
    if unknown := sorted(set(profiles) - set(PROFILES)):
        raise ConfigurationError(f"{path}: unknown profiles {unknown}; there are {list(PROFILES)}")
    for name, changes in profiles.items():
        if fixed := sorted(set(changes).intersection(_SAME_EVERYWHERE)):
            raise ConfigurationError(f"{path}: profiles.{name}: {fixed} must be the same in every profile")
    return values, profiles
