"""How benchmarks report: a table for people, and one JSON line for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table


def show(name: str, note: str, rows: Sequence[dict[str, Any]], device: str = "cpu") -> None:
    """Print the rows (the same keys in each) and, last, everything as one line of JSON.

    Args:
        device: what was measured on.
    """
    # Imports torch, which the worker processes of a benchmark would import again.
    from training_jobs.hardware import describe_hardware, load_average

    console = Console()
    table = Table(title=name, caption=note)
    for index, column in enumerate(rows[0]):
        table.add_column(column, justify="right" if index else "left")
    for row in rows:
        table.add_row(
            *(f"{value:,.2f}" if isinstance(value, float) else str(value) for value in row.values())
        )
    console.print(table)
    hardware = {**asdict(describe_hardware(device)), "load_average": load_average()}
    line = {"benchmark": name, "note": note, "rows": list(rows), "hardware": hardware}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
