"""Mixture files in VITA-Audio's form: which of their parts are, by their very names, for evaluation.

    dataset:
      speechcolab/gigaspeech:
        ratio: 1.0
        num: 1000          # optional: at most so many rows
        data_paths: [datasets/jsonl/speechcolab/gigaspeech/xl.jsonl, …]

A name is only a hint, and the rows themselves are checked by the other rules; but it is one that needs no data.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field, ValidationError

from validation.errors import ConfigurationError
from validation.leakage_rules import MIXTURES
from validation.schemas import frame_from_rows
from validation.strict import StrictKeys, explain, read_yaml_mapping

_FOR_EVALUATION = frozenset(
    {
        "dev",
        "devel",
        "development",
        "eval",
        "evaluation",
        "heldout",
        "test",
        "testing",
        "val",
        "valid",
        "validation",
    }
)
_APART = re.compile(r"[^a-z0-9]+")


class MixtureDataset(StrictKeys):
    """One dataset of a mixture: how much of it is drawn, from which JSONL files."""

    ratio: float = Field(default=1.0, ge=0)
    num: int | None = Field(default=None, ge=0)
    data_paths: tuple[str, ...] = Field(min_length=1)


def read_mixture(path: Path) -> dict[str, MixtureDataset]:
    """The datasets of a mixture file.

    Raises:
        ConfigurationError: naming the file, the dataset and what is wrong with it.
    """
    datasets = read_yaml_mapping(path).get("dataset")
    if not isinstance(datasets, dict):
        raise ConfigurationError(f"{path}: dataset: got {datasets!r:.80}; wanted are names of datasets")
    read = {}
    for name, value in datasets.items():
        try:
            read[str(name)] = MixtureDataset.model_validate(value)
        except ValidationError as error:
            raise ConfigurationError(f"{path}: dataset.{name}: {explain(error)}") from error
    return read


def mixture_findings(paths: Iterable[Path]) -> pl.DataFrame:
    """Rows of the table ``leakage`` for the mixtures' files that are named as development or test sets.

    A dataset that is drawn at ratio 0 or with no rows is reported, and blocks nothing.
    """
    return frame_from_rows("leakage", [row for path in paths for row in _findings(path)])


def _findings(path: Path) -> Iterator[dict[str, Any]]:
    for dataset, part in read_mixture(path).items():
        is_drawn = part.ratio > 0 and part.num != 0
        for data_path in part.data_paths:
            word = _word_for_evaluation(f"{dataset}/{data_path}")
            if word is None:
                continue
            detail = (
                f"{path}: dataset {dataset} is trained on {data_path.strip()}, drawn at ratio {part.ratio:g} "
                f"(limit 0): {word!r} in its name says that it is for evaluation"
            )
            yield {
                "evaluation_set": MIXTURES,
                "rule": "mixture",
                "action": "block" if is_drawn else "report",
                "corpus": dataset,
                "utterance_id": data_path.strip(),
                "source": str(path),
                "evaluation_corpus": dataset,
                "evaluation_utterance_id": word,
                "evaluation_source": data_path.strip(),
                "matches": 1,
                "value": part.ratio,
                "limit": 0.0,
                "detail": detail,
            }


def _word_for_evaluation(name: str) -> str | None:
    """The word of the name that says so, such as ``dev`` in ``AISHELL-1/dev.jsonl``."""
    return next((word for word in _APART.split(name.lower()) if word in _FOR_EVALUATION), None)
