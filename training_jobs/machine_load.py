"""What else a machine did while something was timed on it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

# More than this taken by others, and the figures are said to be of a busy machine.
BUSY_SHARE = 0.1


@dataclass
class MachineLoad:
    """Load while something was timed; complete after the block of :func:`watched_load`.

    Attributes:
        before: load average over the minute before: processes that ran or waited.
        after: the same at the end; our own processes are among them.
        cores: that this process may run on.
        others_share: of these cores' time, what went to other processes, the system or other guests of the host;
            ``None`` where the system does not tell.
    """

    before: float
    after: float
    cores: int
    others_share: float | None

    @property
    def is_busy(self) -> bool:
        """Whether others took so much that the figures are to be doubted."""
        return self.others_share is not None and self.others_share > BUSY_SHARE

    def sentence(self) -> str:
        """The same for people."""
        averages = f"load average {self.before:.2f} before and {self.after:.2f} after"
        if self.others_share is None:
            return f"{averages}; what other processes took is not known: the system counts no CPU time"
        taken = f"others took {self.others_share:.0%} of the {self.cores} cores' time meanwhile"
        return f"{averages}; {taken}{': **a busy machine**' if self.is_busy else ''}"


@contextmanager
def watched_load() -> Iterator[MachineLoad]:
    """Watch the cores of this process for the length of the block."""
    cores = sorted(os.sched_getaffinity(0))
    load = MachineLoad(os.getloadavg()[0], os.getloadavg()[0], len(cores), None)
    began_s, busy_s, own_s = time.monotonic(), _busy(cores), _own()
    yield load
    whole_s = (time.monotonic() - began_s) * len(cores)
    load.after = os.getloadavg()[0]
    used_s = _busy(cores) - busy_s
    if used_s > 0:
        # The kernel counts in hundredths of a second, so that nothing may come out as a little less than nothing.
        load.others_share = min(1.0, max(0.0, used_s - (_own() - own_s)) / whole_s)


def _busy(cores: list[int]) -> float:
    """Seconds in which these cores did anything, guests of the host that took them included."""
    every = psutil.cpu_times(percpu=True)
    # Guests' time is in the user's already.
    kinds = ("user", "nice", "system", "irq", "softirq", "steal")
    return sum(getattr(every[core], kind, 0.0) for core in cores if core < len(every) for kind in kinds)


def _own() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
