"""Typed configuration: immutable models that refuse unknown keys, and YAML files that say what is wrong with them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from validation.errors import ConfigurationError

_MOST_NODES = 1_000_000
_UNKNOWN_KEYS = "unknown_keys"
# pydantic's own words for these name Python's types, which no file has.
_WANTED = {
    "tuple_type": "wanted is a list",
    "list_type": "wanted is a list",
    "dict_type": "wanted are keys with values",
    "model_type": "wanted are keys with values",
    "model_attributes_type": "wanted are keys with values",
}


class Strict(BaseModel):
    """Base of everything that is configured: immutable, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StrictKeys(Strict):
    """Refuses unknown keys with those that there are, also where it is one kind of several."""

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        if isinstance(value, dict) and (unknown := [key for key in value if key not in cls.model_fields]):
            said = f"key{'s' * (len(unknown) > 1)} {', '.join(map(repr, unknown))}"
            raise PydanticCustomError(
                _UNKNOWN_KEYS,
                "unknown {said}; allowed are {allowed}",
                {"said": said, "allowed": ", ".join(cls.model_fields)},
            )
        return value


def explain(error: ValidationError) -> str:
    """The faults of a pydantic error: entry, what is allowed, and the value.

    Parts of an entry's name in brackets are tags of a union's kinds, which no file has either.
    """
    lines = []
    for fault in error.errors():
        entry = ".".join(str(part) for part in fault["loc"] if not str(part).startswith("["))
        has_value = fault["type"] not in ("missing", _UNKNOWN_KEYS)
        value = f" (got {fault['input']!r:.120})" if has_value else ""
        message = _WANTED.get(fault["type"], fault["msg"].removeprefix("Value error, "))
        if fault["type"] == "union_tag_not_found":
            message = f"{fault['ctx']['discriminator']} says of which kind it is, and is missing"
        elif fault["type"] == "union_tag_invalid":
            message = "{discriminator} is {tag!r}; it may be {expected_tags}".format(**fault["ctx"])
        lines.append(f"{entry}: {message}{value}" if entry else message)
    return "; ".join(lines)


def load_yaml(text: str) -> Any:
    """The value of a YAML document.

    Raises:
        yaml.YAMLError: if it is none, or stands for more than :data:`_MOST_NODES` values: a few lines of aliases of
            aliases are billions of them to whoever goes through the value.
    """
    root = _composed(text)
    return None if root is None else yaml.SafeLoader("").construct_document(root)


@lru_cache(maxsize=32)
def _composed(text: str) -> yaml.Node | None:
    """The document's nodes; a run reads the same few files dozens of times, and scanning is what takes long."""
    root = yaml.compose(text, yaml.SafeLoader)
    if root is not None and (count := _nodes(root, {})) > _MOST_NODES:
        raise yaml.YAMLError(f"its aliases stand for {count} values; allowed are {_MOST_NODES}")
    if root is not None:
        # The first time, merged keys (<<) are written into the nodes: afterwards threads only read these.
        yaml.SafeLoader("").construct_document(root)
    return root


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


def read_yaml(path: Path) -> Any:
    """The value of a YAML file.

    Raises:
        ConfigurationError: naming the file, if it cannot be read.
    """
    try:
        return load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: cannot be read as YAML: {error}") from error


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """The mapping of a YAML file.

    Raises:
        ConfigurationError: naming the file, if it cannot be read or holds something else.
    """
    value = read_yaml(path)
    if not isinstance(value, dict):
        found = "the file is empty" if value is None else f"got {value!r:.80}"
        raise ConfigurationError(f"{path}: {found}; wanted are keys with values")
    return value
