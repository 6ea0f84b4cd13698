"""The frame of every program: read the job, report, and end with one clear line where a user can mend the fault."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from models.errors import ModelError
from training_jobs.jobs import JobT, read_job
from training_jobs.reporting import Reporter, reporter
from validation.errors import UserError

_log = logging.getLogger(__name__)


def program_main(kind: type[JobT], run: Callable[[JobT, Reporter], None]) -> None:
    """``run`` the job named on the command line; exits 1 where it fails.

    A fault that a user can mend is one line on standard error; anything else has its traceback.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("job", type=Path, help="the job, as JSON")
    path = parser.parse_args().job
    with reporter() as report:
        try:
            job = read_job(kind, path)
            run(job, report)
        except Exception as error:
            is_users = isinstance(error, UserError | ModelError)
            # Said here, and not by the interpreter: what else ends at exit would write behind it.
            _log.error("%s: %s", type(error).__name__, error, exc_info=not is_users)
            sys.exit(1)
