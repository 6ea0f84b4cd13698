"""Typed configuration: immutable models that refuse unknown keys, and YAML files that say what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from validation.errors import ConfigurationError

_MOST_NODES = 1_000_000


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


def load_yaml(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        yaml.YAMLError: if it is none, or stands for more than :data:`_MOST_NODES` values: a few lines of aliases of
            aliases are billions of them to whoever goes through the value.
    """
    root = yaml.compose(text, yaml.SafeLoader)
    if root is not None and (count := _nodes(root, {})) > _MOST_NODES:
        raise yaml.YAMLError(f"its aliases stand for {count} values; allowed are {_MOST_NODES}")
    return yaml.safe_load(text)


def _nodes(node: yaml.Node, counted: dict[int, int]) -> int:
    """How many values a node stands for, each alias of it counted; one that holds itself, endlessly many."""
    if id(node) not in counted:
        counted[id(node)] = _MOST_NODES + 1  # until all in it is counted, it can only be met within itself
        inside: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            inside = [one for pair in node.value for one in pair]
        elif isinstance(node, yaml.SequenceNode):
            inside = node.value
        counted[id(node)] = 1 + sum(_nodes(one, counted) for one in inside)
    return counted[id(node)]


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """The mapping of a YAML file.

    Raises:
        ConfigurationError: naming the file, if it cannot be read or holds something else.
    """
    try:
        value = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(value, dict):
        found = "the file is empty" if value is None else f"got {value!r:.80}"
        raise ConfigurationError(f"{path}: {found}; wanted are keys with values")
    return value
