"""Stage specs: every hyper-parameter of a training stage, once, with the profiles' sizes over the 7b values."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from models.interleaving import interleave
from validation.errors import ConfigurationError
from validation.strict import Strict, explain, read_yaml_mapping

Stage = Literal["text_audio_alignment", "single_mctp", "multi_mctp", "sft"]
ProfileName = Literal["tiny", "7b", "debug"]
Mode = Literal["vanilla", "balance", "boost", "turbo"]  # of decoding, from no speculation to most (DESIGN §5)
STAGES: tuple[Stage, ...] = get_args(Stage)
PROFILES: tuple[ProfileName, ...] = get_args(ProfileName)
MODES: tuple[Mode, ...] = get_args(Mode)
# `debug` is for tests: it says only in what it is smaller than `tiny`.
_SMALLER_THAN: dict[ProfileName, ProfileName] = {"debug": "tiny"}
COMMON_FILE = "common.yaml"
# The graph follows these, and is the same in every profile.
_SAME_EVERYWHERE = ("stage", "starts_from", "description")


class StageSpec(Strict):
    """Hyper-parameters of one stage (DESIGN §5)."""

    stage: Stage
    description: str = Field(description="what people read beside the stage; decides nothing")
    starts_from: Literal["base_model"] | Stage
    mctp_modules: int = Field(ge=0, le=32)
    trainable: Literal["all", "mctp"]
    learning_rate: float = Field(gt=0)
    mctp_learning_rate_factor: float = Field(default=1.0, gt=0)
    weight_decay: float = Field(ge=0)
    steps: int = Field(gt=0)
    sequence_length: int = Field(ge=64, description="tokens of one packed row")
    micro_batch: int = Field(gt=0, description="packed rows per rank and forward pass")
    gradient_accumulation: int = Field(gt=0)
    adam_beta1: float = Field(gt=0, lt=1)
    adam_beta2: float = Field(gt=0, lt=1)
    adam_epsilon: float = Field(gt=0)
    clip: float = Field(gt=0, description="largest norm of the gradient")
    warmup_share: float = Field(ge=0, lt=1, description="share of the steps")
    final_learning_rate_share: float = Field(ge=0, le=1, description="of the peak, at the end of the cosine")
    mtp_loss_weight: float = Field(ge=0)
    gradient_checkpointing: bool
    zero_stage: Literal[1, 2]
    precision: Literal["auto", "float32", "bfloat16"]
    seed: int = Field(ge=0)
    checkpoints: int = Field(gt=0, description="how many times to save, evenly spaced")
    keep_checkpoints: int = Field(gt=0, description="the last ones")
    keep_milestones: bool = Field(
        description="save after each tenth of the steps, too, and keep those to the end"
    )
    ratio: tuple[int, ...] = Field(description="text and audio counts in turn, of the interleaving")
    mixture: str = Field(description="name of the profile's mixture")
    processes: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        description="ranks; auto: one per GPU, two where there is none"
    )

    @model_validator(mode="after")
    def _consistent(self) -> StageSpec:
        if self.mctp_modules == 0 and self.trainable == "mctp":
            raise ValueError(f"stage {self.stage} trains MCTP modules only, but mctp_modules is 0")
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
        return self.model_dump(exclude={"description", "keep_milestones"})


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
        values |= common_profiles.get(name, {}) | own_profiles.get(name, {})
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
