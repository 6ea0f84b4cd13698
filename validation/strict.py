"""Typed configuration: immutable models that refuse unknown keys, and YAML files that say what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from validation.errors import ConfigurationError


class Strict(BaseModel):
    """Base of everything that is configured: immutable, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def explain(error: ValidationError) -> str:
    """The faults of a pydantic error: entry, what is allowed, and the value."""
    lines = []
    for fault in error.errors():
        entry = ".".join(str(part) for part in fault["loc"])
        value = "" if fault["type"] == "missing" else f" (got {fault['input']!r:.120})"
        message = fault["msg"].removeprefix("Value error, ")
        lines.append(f"{entry}: {message}{value}" if entry else message)
    return "; ".join(lines)


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """The mapping of a YAML file.

    Raises:
        ConfigurationError: naming the file, if it cannot be read or holds something else.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(value, dict):
        found = "the file is empty" if value is None else f"got {value!r:.80}"
        raise ConfigurationError(f"{path}: {found}; wanted are keys with values")
    return value
