"""Programs that run on GPUs: packing, training, evaluation, latency, registration."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from validation.allocators import give_back_soon

if TYPE_CHECKING:
    from training_jobs.rows import encode_prompt, encode_row

# Here, since whatever imports polars or DuckDB is imported after the package that it belongs to.
give_back_soon()

__all__ = ["encode_prompt", "encode_row"]

_HOMES = {"encode_prompt": "training_jobs.rows", "encode_row": "training_jobs.rows"}


def __getattr__(name: str) -> Any:
    # PEP 562: the code location imports this package and must not load transformers with it.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
