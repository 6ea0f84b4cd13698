"""Kills the data steps, or fills their disk, at every point: ``tests/bench/kills.py --kind "kill group" --every 1``.

Each point costs some seconds. What is swept, tests/robustness/sweep.py says.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from robustness.sweep import Kind, sweep


def main() -> int:
    """Sweep as told; the exit code says whether all points ended as an undisturbed run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", required=True, choices=get_args(Kind))
    parser.add_argument("--every", type=int, help="every so-many points")
    parser.add_argument("--points", type=int, default=10, help="or so many of them, evenly")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--corpora", nargs="*", default=(), help="of tests/robustness/made.py; none: all")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = sweep(
            Path(folder).resolve(), asked.kind, asked.every, asked.points, asked.first, asked.corpora
        )
    sys.stdout.write(json.dumps(found) + "\n")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
