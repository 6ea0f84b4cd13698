"""How a program talks to whoever started it: Dagster Pipes where Dagster did, log lines everywhere.

Only rank 0 opens Pipes: two reporters in one session fail the step. What is to be shown with the materialisation
stands in ``result.json``, so that a result found again is shown like a fresh one.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_log = logging.getLogger("training_jobs")


@dataclass(frozen=True)
class Reporter:
    """Takes a program's progress lines."""

    log: Callable[[str], None]


def rank() -> int:
    """This process' rank as torchrun states it; 0 for a program of one process."""
    return int(os.environ.get("RANK", "0"))


def configure_logging() -> None:
    """Log lines to standard error, with the rank where there are several."""
    prefix = f"[rank {rank()}] " if int(os.environ.get("WORLD_SIZE", "1")) > 1 else ""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s {prefix}%(levelname)s %(message)s",
        force=True,
    )
    for chatty in ("DeepSpeed", "alembic", "mlflow", "matplotlib", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@contextmanager
def reporter() -> Iterator[Reporter]:
    """A reporter for the length of the block; ranks other than 0 report nothing."""
    configure_logging()
    if rank() != 0:
        yield Reporter(_log.debug)
        return
    from dagster_pipes import open_dagster_pipes

    if "DAGSTER_PIPES_CONTEXT" not in os.environ:
        yield Reporter(_log.info)
        return
    with open_dagster_pipes() as context:

        def log(message: str) -> None:
            _log.info(message)
            context.log.info(message)

        yield Reporter(log)
