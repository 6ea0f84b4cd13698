"""Typed thresholds over the measures of signal, text and models; the values stand in ``thresholds.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Annotated, Any

import polars as pl
import yaml
from pydantic import ConfigDict, Field, ValidationError, model_validator

from validation.errors import UserError
from validation.strict import Strict, explain

# By primary language tag, because a limit is looked up by it: an entry for zh-CN would never be found.
_Language = Annotated[str, Field(pattern=r"^(default|[a-z]{2,3})$")]
PerLanguage = dict[_Language, Annotated[float, Field(gt=0)]]
_Share = Annotated[float, Field(ge=0, le=1)]
_Level = Annotated[float, Field(ge=-120, le=0)]
_Word = Annotated[str, Field(pattern=r"\S")]
_Limit = Annotated[str, Field(pattern=r"^(min|max)_")]

_ORDERED = (
    ("min_duration_s", "max_duration_s"),
    ("min_sample_rate_hz", "max_sample_rate_hz"),
    ("silence_level_dbfs", "min_level_dbfs"),
    ("min_level_dbfs", "max_level_dbfs"),
    ("min_snr_db", "note_snr_db"),
)


class ThresholdError(UserError):
    """A threshold that is unknown, has a value that is not allowed, or contradicts another one."""


class Thresholds(Strict):
    """Limits of the measures; units are in the names, values and their reasons in ``thresholds.yaml``."""

    model_config = ConfigDict(allow_inf_nan=False)

    min_duration_s: float = Field(ge=0)
    max_duration_s: float = Field(gt=0)
    min_sample_rate_hz: int = Field(gt=0)
    max_sample_rate_hz: int = Field(gt=0)
    silence_level_dbfs: _Level
    min_level_dbfs: _Level
    max_level_dbfs: _Level
    max_clipped_share: _Share
    max_longest_clip_s: float = Field(ge=0)
    max_dc_offset: _Share
    max_dead_channels: int = Field(ge=0)
    min_channel_correlation: float = Field(ge=-1, le=1)
    max_longest_dropout_s: float = Field(ge=0)
    max_silence_share: _Share
    max_leading_silence_s: float = Field(ge=0)
    max_trailing_silence_s: float = Field(ge=0)
    min_snr_db: float
    review_snr_db: float
    note_snr_db: float
    max_hum_db: float
    min_dynamic_range_db: float = Field(ge=0)
    min_bandwidth_hz: float = Field(ge=0)
    min_bandwidth_share: _Share
    max_nonfinite_samples: int = Field(ge=0)
    min_speech_share: _Share
    min_mos: float = Field(ge=0, le=5)
    max_word_error_rate: float = Field(ge=0)
    max_char_error_rate: float = Field(ge=0)
    min_language_probability: _Share
    min_chars_per_second: PerLanguage
    max_chars_per_second: PerLanguage
    max_rate_deviation: float = Field(gt=0)
    max_control_characters: int = Field(ge=0)
    min_script_share: _Share
    max_repeated_share: _Share
    max_text_occurrences: int = Field(ge=1)
    unwanted_words: tuple[_Word, ...]
    max_unwanted_words: int = Field(ge=0)
    review_within: dict[_Limit, Annotated[float, Field(gt=0)]]

    @model_validator(mode="after")
    def _consistent(self) -> Thresholds:
        for name in self.review_within:
            if name not in Thresholds.model_fields:
                raise ValueError(f"review_within names {name}, which is no threshold")
        for low_name, high_name in _ORDERED:
            low, high = getattr(self, low_name), getattr(self, high_name)
            if low >= high:
                raise ValueError(f"{low_name} = {low} must be below {high_name} = {high}")
        for name in ("min_chars_per_second", "max_chars_per_second"):
            if "default" not in getattr(self, name):
                raise ValueError(f"{name} needs an entry 'default' for languages without one of their own")
        for language in sorted({*self.min_chars_per_second, *self.max_chars_per_second}):
            low, high = (self.limit(f"{side}_chars_per_second", language) for side in ("min", "max"))
            if low >= high:
                raise ValueError(
                    f"{language}: min_chars_per_second = {low} must be below max_chars_per_second = {high}"
                )
        return self

    def limit(self, name: str, language: str) -> float:
        """The limit for a row of this language (a tag such as ``en`` or ``zh-CN``)."""
        limit = getattr(self, name)
        if isinstance(limit, dict):
            primary = primary_language(language)
            return float(limit[primary] if primary in limit else limit["default"])
        return float(limit)

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


def load_thresholds() -> Thresholds:
    """The project's thresholds."""
    text = files("validation").joinpath("thresholds.yaml").read_text(encoding="utf-8")
    return _validated(yaml.safe_load(text), "thresholds.yaml")


def primary_language(language: str) -> str:
    """``zh`` for ``zh-CN`` and ``ZH_tw``."""
    return language.lower().replace("_", "-").split("-")[0]


def primary_language_expr() -> pl.Expr:
    """:func:`primary_language` of the column ``language``, for a whole table."""
    return pl.col("language").str.to_lowercase().str.extract(r"^([^-_]*)")


def _validated(values: Any, name: str) -> Thresholds:
    try:
        return Thresholds.model_validate(values)
    except ValidationError as error:
        allowed = ", ".join(Thresholds.model_fields)
        raise ThresholdError(f"{name}: {explain(error)}; allowed entries: {allowed}") from error
