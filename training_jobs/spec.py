"""Stage specs: every hyper-parameter of a training stage, once, with the profiles' sizes over the 7b values."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, ValidationError, model_validator

from validation.errors import ConfigurationError
from validation.strict import Strict, explain, read_yaml_mapping

Stage = Literal["text_audio_alignment", "single_mctp", "multi_mctp", "sft"]
ProfileName = Literal["tiny", "7b", "debug"]
STAGES: tuple[Stage, ...] = get_args(Stage)
PROFILES: tuple[ProfileName, ...] = get_args(ProfileName)
# `debug` is for tests: it says only in what it is smaller than `tiny`.
_SMALLER_THAN: dict[ProfileName, ProfileName] = {"debug": "tiny"}


class StageSpec(Strict):
    """Hyper-parameters of one stage (DESIGN §5)."""

    stage: Stage
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
    seed: int
    checkpoints: int = Field(gt=0, description="how many times to save, evenly spaced")
    keep_checkpoints: int = Field(gt=0)
    ratio: tuple[int, ...] = Field(description="text and audio counts in turn, of the interleaving")
    mixture: str = Field(description="name of the profile's mixture")
    processes: Literal["auto"] | int = Field(description="auto: one per GPU; two where there is none")

    @model_validator(mode="after")
    def _consistent(self) -> StageSpec:
        if self.mctp_modules == 0 and self.trainable == "mctp":
            raise ValueError(f"stage {self.stage} trains MCTP modules only, but mctp_modules is 0")
        if len(self.ratio) < 2 or len(self.ratio) % 2 or min(self.ratio) < 1:
            raise ValueError(
                f"ratio {list(self.ratio)} of stage {self.stage} must be pairs of counts of at least 1"
            )
        return self


def _stage_files() -> Path:
    return Path(str(files("training_jobs") / "stages"))


def load_stage(stage: Stage, profile: ProfileName, folder: Path | None = None) -> StageSpec:
    """The spec of ``stage``: its 7b values with the profile's own over them.

    Raises:
        ConfigurationError: for an unknown key, profile or value out of range, naming the file.
    """
    path = (folder or _stage_files()) / f"{stage}.yaml"
    document = read_yaml_mapping(path)
    profiles = document.pop("profiles", {})
    if not isinstance(profiles, dict) or not all(isinstance(values, dict) for values in profiles.values()):
        raise ConfigurationError(f"{path}: profiles: got {profiles!r:.120}; wanted are values per profile")
    unknown = sorted(set(profiles) - set(PROFILES))
    if unknown:
        raise ConfigurationError(f"{path}: unknown profiles {unknown}; there are {list(PROFILES)}")
    above = profiles.get(_SMALLER_THAN[profile], {}) if profile in _SMALLER_THAN else {}
    try:
        return StageSpec.model_validate(document | above | profiles.get(profile, {}))
    except ValidationError as error:
        raise ConfigurationError(f"{path}, profile {profile}: {explain(error)}") from error
