"""The most memory that a piece of work takes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from validation.allocators import give_back_now

# Of Linux: writing 5 there makes the present size the new peak.
_CLEAR_REFS, _RESET_PEAK = Path("/proc/self/clear_refs"), "5"
_STATUS, _PEAK = Path("/proc/self/status"), "VmHWM:"
_SAMPLED_EVERY_S = 0.002

HowMeasured = Literal["resident, kernel's peak", "resident, sampled", "allocated on the GPU"]


@dataclass(frozen=True)
class PeakMemory:
    """A peak.

    Attributes:
        peak_bytes: of the whole process (interpreter, libraries and weights included), or of what torch has allocated
            on the GPU (weights included).
        how: which of these, and how it was found.
    """

    peak_bytes: int
    how: HowMeasured


def peak_memory(work: Callable[[], object], device: str) -> PeakMemory:
    """Do the work, and say what it took at most. What is free before is given back first.

    Cycles of Python objects are the caller's to collect: that takes longer than some work does.
    """
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        work()
        torch.cuda.synchronize()
        return PeakMemory(int(torch.cuda.max_memory_allocated()), "allocated on the GPU")
    give_back_now()
    if not _reset_peak():
        return _sampled(work)
    work()
    return PeakMemory(_kernels_peak(), "resident, kernel's peak")


def _reset_peak() -> bool:
    """Whether the kernel starts its peak anew; it may not, in a container or on another system."""
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
        return _PEAK in _STATUS.read_text(encoding="ascii", errors="replace")
    except OSError:
        return False


def _kernels_peak() -> int:
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith(_PEAK))
    return int(kilobytes) * 1024


def _sampled(work: Callable[[], object]) -> PeakMemory:
    process, done = psutil.Process(), threading.Event()
    sizes = [process.memory_info().rss]

    def sample() -> None:
        while not done.wait(_SAMPLED_EVERY_S):
            sizes.append(process.memory_info().rss)

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        work()
        sizes.append(process.memory_info().rss)
    finally:
        done.set()
        sampler.join()
    return PeakMemory(max(sizes), "resident, sampled")
