"""What a latency was measured on: two latencies are comparable only where the fingerprints are equal."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import torch

from training_jobs.dialogue import dtype_on
from validation.digests import digest_value


@dataclass(frozen=True)
class Hardware:
    """The machine, and how torch uses it.

    Attributes:
        cores: that this process may run on.
        threads: torch's, within one operation.
        memory_gib: of the machine, rounded to whole GiB.
        gpu: name of the device in use; ``None`` on a CPU.
        dtype: of the weights.
    """

    cpu: str
    cores: int
    threads: int
    memory_gib: int
    gpu: str | None
    dtype: str
    torch: str

    @property
    def digest(self) -> str:
        """SHA-256 over all fields."""
        return digest_value(asdict(self))


def describe_hardware(device: str) -> Hardware:
    """The fingerprint of this machine for a model on ``device`` (``cpu`` or ``cuda``)."""
    return Hardware(
        cpu=_cpu_name(),
        cores=len(os.sched_getaffinity(0)),
        threads=torch.get_num_threads(),
        memory_gib=round(psutil.virtual_memory().total / 2**30),
        gpu=torch.cuda.get_device_name() if device == "cuda" else None,
        dtype=str(dtype_on(device)).removeprefix("torch."),
        torch=torch.__version__,
    )


def load_average() -> float:
    """Processes that were running or waiting, over the last minute; noise in what is timed."""
    return os.getloadavg()[0]


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
