"""A rank that hangs below Python: ``python -m hung_rank OUTPUT_DIR RANK LIMIT_S``."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

from training_jobs.watchdog import Watchdog


def wait_for_the_others(watchdog: Watchdog) -> None:
    """In C, and without letting go of the interpreter, as no Python thread or handler could bear."""
    # Said, and its time begun, from in here: whoever asks it to stop as soon as this is read finds this function on
    # its stack, and so does its own time, however soon it is over.
    sys.stdout.write("hangs\n")
    sys.stdout.flush()
    sleep = ctypes.PyDLL(None).sleep
    watchdog.phase("stepping", 12)
    sleep(600)


def main() -> None:
    """Hang in step 12."""
    with Watchdog(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])) as watchdog:
        wait_for_the_others(watchdog)


if __name__ == "__main__":
    main()
