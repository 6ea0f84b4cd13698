"""A training stage whose disk is full for a while: ``python -m robustness.full_stage JOB DISK KEPT``.

The stage's output is on a small disk of its own, mounted for this process alone. After its second checkpoint the disk
is filled until the stage has ended; then there is room again, and the same stage is run once more.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

from robustness.disk import Disk
from robustness.stage_kills import newest
from stage_runs import LIMITS
from waiting import until

from training_jobs.jobs import TrainJob, read_job, write_job
from training_jobs.launch import train_command

_KIB = 64 << 10
_PIECE = b"\0" * (1 << 14)
_ENDS_WITHIN_S = 240.0


def main() -> None:
    """Exits 1 where the stage did not end as it should; what it left is in KEPT."""
    job, kept = read_job(TrainJob, Path(sys.argv[1])), Path(sys.argv[3])
    output = job.output_dir
    with Disk(Path(sys.argv[2])) as disk:
        disk.resize(_KIB)
        output.mkdir()
        command = train_command(
            write_job(job, output / "job.json"), output / "log.txt", 2, LIMITS, quiet=False
        )
        with (kept / "said.txt").open("wb") as said:
            stage = subprocess.Popen(command, stdout=said, stderr=said)
            until(lambda: newest(output) >= 2 or stage.poll() is not None, "the first checkpoints")
            with (output / "ballast").open("wb", buffering=0) as ballast:
                until(lambda: _filled(ballast) and stage.poll() is not None, "the end of the stage")
            assert stage.returncode == 1, stage.returncode
            (output / "ballast").unlink()
            again = subprocess.run(command, stdout=said, stderr=said, timeout=_ENDS_WITHIN_S, check=False)
            assert again.returncode == 0, again.returncode
        shutil.copytree(output, kept / "output")


def _filled(ballast: IO[bytes]) -> bool:
    """Write until there is no room; there is more now and then, where the stage removes what it could not finish."""
    while True:
        try:
            ballast.write(_PIECE)
        except OSError:
            return True


if __name__ == "__main__":
    main()
