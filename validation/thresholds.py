"""Typed thresholds over the signal measures, and the list of what a recording violates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import ConfigDict, Field, ValidationError, model_validator

from validation.errors import UserError
from validation.ledger import Reason
from validation.strict import Strict, explain

# By primary language tag, because a limit is looked up by it: an entry for zh-CN would never be found.
_Language = Annotated[str, Field(pattern=r"^(default|[a-z]{2,3})$")]
PerLanguage = dict[_Language, Annotated[float, Field(gt=0)]]


class ThresholdError(UserError):
    """A threshold that is unknown, has a value that is not allowed, or contradicts another one."""


class Thresholds(Strict):
    """Limits of the signal measures; units are in the names, values and their reasons in ``thresholds.yaml``."""

    model_config = ConfigDict(allow_inf_nan=False)

    min_duration_s: float = Field(ge=0)
    max_duration_s: float = Field(gt=0)
    min_sample_rate_hz: int = Field(gt=0)
    max_sample_rate_hz: int = Field(gt=0)
    min_level_dbfs: float = Field(ge=-120, le=0)
    max_level_dbfs: float = Field(ge=-120, le=0)
    max_clipped_share: float = Field(ge=0, le=1)
    max_dc_offset: float = Field(ge=0, le=1)
    max_silence_share: float = Field(ge=0, le=1)
    min_snr_db: float
    min_bandwidth_hz: float = Field(ge=0)
    max_nonfinite_samples: int = Field(ge=0)
    min_chars_per_second: PerLanguage
    max_chars_per_second: PerLanguage

    @model_validator(mode="after")
    def _consistent(self) -> Thresholds:
        for measure in ("duration_s", "sample_rate_hz", "level_dbfs"):
            low, high = getattr(self, f"min_{measure}"), getattr(self, f"max_{measure}")
            if low >= high:
                raise ValueError(f"min_{measure} = {low} must be below max_{measure} = {high}")
        for name in ("min_chars_per_second", "max_chars_per_second"):
            if "default" not in getattr(self, name):
                raise ValueError(f"{name} needs an entry 'default' for languages without one of their own")
        for language in sorted({*self.min_chars_per_second, *self.max_chars_per_second}):
            low, high = (_limit(self, f"{side}_chars_per_second", language) for side in ("min", "max"))
            if low >= high:
                raise ValueError(
                    f"{language}: min_chars_per_second = {low} must be below max_chars_per_second = {high}"
                )
        return self

    def overridden(self, values: Mapping[str, Any]) -> Thresholds:
        """These thresholds with some values replaced; languages not named keep theirs.

        Raises:
            ThresholdError: naming the entry, the value and what is allowed.
        """
        merged: dict[str, Any] = self.model_dump()
        for name, value in values.items():
            both_maps = isinstance(merged.get(name), dict) and isinstance(value, dict)
            merged[name] = {**merged[name], **value} if both_maps else value
        return _validated(merged, "thresholds")


@dataclass(frozen=True, slots=True)
class Violation:
    """One measure outside its limit; ``detail`` names both with their unit."""

    reason: Reason
    value: float
    limit: float
    detail: str


# Order is the order of importance: the first violation becomes the ledger's reason. What a defect brings about (a
# silent file has no band and no SNR, either) comes after the defect.
_CHECKS: tuple[tuple[str, str, Reason, str, str], ...] = (
    ("nonfinite_samples", "max", "non_finite", "NaN or infinite samples", ""),
    ("level_dbfs", "min", "silent", "level", " dBFS"),
    ("duration_s", "min", "too_short", "duration", " s"),
    ("duration_s", "max", "too_long", "duration", " s"),
    ("sample_rate_hz", "min", "sample_rate", "sample rate", " Hz"),
    ("sample_rate_hz", "max", "sample_rate", "sample rate", " Hz"),
    ("dc_offset", "max", "dc_offset", "DC offset", " of full scale"),
    ("clipped_share", "max", "clipped", "clipped share", ""),
    ("level_dbfs", "max", "too_loud", "level", " dBFS"),
    ("silence_share", "max", "mostly_silence", "silence share", ""),
    ("snr_db", "min", "noisy", "signal-to-noise ratio", " dB"),
    ("bandwidth_hz", "min", "narrow_band", "bandwidth", " Hz"),
    ("chars_per_second", "min", "text_too_short", "text against audio", " characters/s"),
    ("chars_per_second", "max", "text_too_long", "text against audio", " characters/s"),
)
_COLUMN_OF = {"sample_rate_hz": "source_rate_hz"}


def violations(thresholds: Thresholds, measures: Mapping[str, Any], language: str) -> list[Violation]:
    """What a row of ``audio_quality`` violates, the most important first.

    Args:
        measures: One row of the table ``audio_quality``; ``chars_per_second`` may be ``None`` (no transcript).
        language: A language tag such as ``en`` or ``zh-CN``, for the limits that depend on it.
    """
    found = []
    for measure, side, reason, words, unit in _CHECKS:
        value = measures[_COLUMN_OF.get(measure, measure)]
        if value is None:
            continue
        size = abs(value) if measure == "dc_offset" else value
        limit = _limit(thresholds, f"{side}_{measure}", language)
        if math.isnan(size) or (size < limit if side == "min" else size > limit):
            relation = "below" if side == "min" else "above"
            detail = f"{words} {value:.6g}{unit} is {relation} the limit of {limit:g}{unit}"
            found.append(Violation(reason, float(value), float(limit), detail))
    return found


def load_thresholds(path: Path | None = None) -> Thresholds:
    """The project's thresholds, or those of another file of the same form.

    Raises:
        ThresholdError: naming the file, the entry, the value and what is allowed.
    """
    if path is None:
        text, name = (
            files("validation").joinpath("thresholds.yaml").read_text(encoding="utf-8"),
            "thresholds.yaml",
        )
    else:
        text, name = path.read_text(encoding="utf-8"), str(path)
    return _validated(yaml.safe_load(text), name)


def _limit(thresholds: Thresholds, name: str, language: str) -> float:
    limit = getattr(thresholds, name)
    if isinstance(limit, dict):
        primary = language.lower().replace("_", "-").split("-")[0]
        return float(limit[primary] if primary in limit else limit["default"])
    return float(limit)


def _validated(values: Any, name: str) -> Thresholds:
    try:
        return Thresholds.model_validate(values)
    except ValidationError as error:
        allowed = ", ".join(Thresholds.model_fields)
        raise ThresholdError(f"{name}: {explain(error)}; allowed entries: {allowed}") from error
