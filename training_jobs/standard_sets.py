"""Standard test sets: which there are (``standard_sets.yaml``), how each is read and how it is scored."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from validation.errors import ConfigurationError
from validation.strict import Strict, explain, read_yaml_mapping


class StandardSet(Strict):
    """One set; ``standard_sets.yaml`` says what its entries mean."""

    title: str
    task: Literal["asr", "sqa", "tts"]
    language: str
    reader: str
    options: dict[str, Any] = Field(default_factory=dict)
    expects: str
    metric: str
    rows: int | None = Field(default=None, gt=0)
    licence: str


def load_standard_sets(path: Path | None = None) -> dict[str, StandardSet]:
    """The sets by name, in the file's order.

    Raises:
        ConfigurationError: naming the file, the entry and the value.
    """
    path = path or Path(str(files("training_jobs") / "standard_sets.yaml"))
    try:
        return TypeAdapter(dict[str, StandardSet]).validate_python(read_yaml_mapping(path))
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {explain(error)}") from error
