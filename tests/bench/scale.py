"""What each data step costs in time and memory by the number of rows, each step in a process of its own.

    python tests/bench/scale.py                         # 1,000 and 100,000 rows: memory
    python tests/bench/scale.py --rows 100000 1000000 10000000 --steps accepted_utterances leakage training_jsonl
    python tests/bench/scale.py --rows 100000 --again   # and a second run over the unchanged corpus

Up to ``--files`` rows the corpus has a file per row and all steps run; above, its first tables are made up. Sound is
never decoded here (tests/bench/resampling.py does that): what the steps remember of it is made up.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from figures import show
from scale_steps import BEFORE, MADE_FROM, NEED_FILES, PREPARE, STEPS

ROWS = (1_000, 100_000)
FILES = 100_000
STEP_NOTE = (
    "Seconds without the start of the process and first imports; memory of the larger of it and its workers."
)

Figures = dict[str, dict[int, dict[str, float]]]  # by step and rows


def main() -> None:
    """Each size in a lake of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS)
    parser.add_argument("--steps", nargs="*", choices=STEPS, default=STEPS, help="which are measured")
    parser.add_argument("--files", type=int, default=FILES, help="most rows that have a file each")
    parser.add_argument("--again", action="store_true", help="run all steps once more, unchanged")
    parser.add_argument("--folder", help="where the lakes lie meanwhile; else the system's temporary folder")
    options = parser.parse_args()
    figures: Figures = {step: {} for step in STEPS}
    again = []
    for rows in options.rows:
        has_files = rows <= options.files
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            wanted = {*options.steps, *(PREPARE if options.again else ())}
            for step, found in _steps(folder, rows, wanted, has_files):
                figures[step][rows] = found
            if options.again and has_files:
                again.append(child("again", folder, rows))
    if table := _table(figures):
        show("data steps", STEP_NOTE, table)
    if growth := _growth(figures):
        show("growth", "ratios; an exponent of 1 is a cost per row that does not change", growth)
    if again:
        show(
            "second run over an unchanged corpus",
            "seconds; all steps in one process, imports included",
            again,
        )


def _steps(
    folder: str, rows: int, wanted: set[str], has_files: bool
) -> Iterator[tuple[str, dict[str, float]]]:
    """The steps' figures, with those of the steps that they are made from."""
    needed = set(wanted)
    for step in reversed(STEPS):
        needed.update(MADE_FROM[step] if step in needed else ())
    child("files" if has_files else "tables", folder, rows)
    for step in STEPS:
        if step in needed and (has_files or step not in NEED_FILES):
            if step in BEFORE:
                child(f"before {step}", folder, rows)
            figures = child(step, folder, rows)
            sys.stderr.write(f"{step}, {rows:,} rows: {figures}\n")
            yield step, figures


def child(what: str, folder: str, rows: int) -> dict[str, Any]:
    """What the process says; the benchmark ends where it fails."""
    command = [sys.executable, str(Path(__file__).with_name("scale_steps.py")), what, folder, str(rows)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{what}, {rows:,} rows: ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _table(figures: Figures) -> list[dict[str, Any]]:
    return [
        {
            "step": step,
            "rows": rows,
            "seconds": one["seconds"],
            "CPU s": one["cpu_s"],
            "CPU s per million rows": 1e6 * one["cpu_s"] / rows,
            "peak MiB": one["peak_mib"],
        }
        for step, by_rows in figures.items()
        for rows, one in by_rows.items()
    ]


def _growth(figures: Figures) -> list[dict[str, Any]]:
    return [
        {
            "step": step,
            "from rows": low,
            "to rows": high,
            "peak memory": by_rows[high]["peak_mib"] / by_rows[low]["peak_mib"],
            "CPU": by_rows[high]["cpu_s"] / by_rows[low]["cpu_s"],
            "CPU grows as rows to the": math.log(by_rows[high]["cpu_s"] / by_rows[low]["cpu_s"])
            / math.log(high / low),
        }
        for step, by_rows in figures.items()
        for low, high in pairwise(by_rows)
    ]


if __name__ == "__main__":
    main()
