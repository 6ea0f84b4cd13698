"""The files of a finished pack: three arrays and the plan that says what is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from validation.atomic import write_text

PLAN_FILE = "plan.json"
ARRAYS = ("input_ids", "labels", "position_ids")  # ``<name>.npy``, int32, rows x sequence length


def read_plan(packs_dir: Path) -> dict[str, Any]:
    """The plan of a finished pack."""
    value = json.loads((packs_dir / PLAN_FILE).read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def write_plan(packs_dir: Path, plan: dict[str, Any]) -> None:
    """Write the plan, atomically."""
    write_text(packs_dir / PLAN_FILE, json.dumps(plan, sort_keys=True, ensure_ascii=False))
