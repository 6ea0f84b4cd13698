"""Kills the data steps, or fills their disk, at many points: ``tests/bench/kills.py "kill group=60" "small disk=all"``.

A point costs about half a second of a processor. What is swept, tests/robustness/points.py says.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from robustness.sweep import sweep


def main() -> int:
    """Sweep as told; the exit code says whether all points ended as an undisturbed run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="+", help="KIND=POINTS, or KIND=all")
    parser.add_argument("--course", default="data steps", choices=["data steps", "forgetting"])
    parser.add_argument("--within", default="", help="only in steps with this in their name")
    parser.add_argument("--corpora", nargs="*", default=(), help="of tests/robustness/made.py; none: all")
    asked = parser.parse_args()
    words = [word.rpartition("=") for word in asked.kinds]
    kinds = {kind: None if count == "all" else int(count) for kind, _, count in words}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = sweep(Path(folder).resolve(), kinds, asked.corpora, asked.course, asked.within)
    seconds = round(time.monotonic() - began, 1)
    sys.stdout.write(json.dumps({"seconds": seconds, **found}) + "\n")
    return 1 if any(one["wrong"] for one in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
