"""Memory and load are those of the work measured."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from training_jobs import peak_memory
from training_jobs.machine_load import watched_load

MIB = 2**20
LARGE = 200 * MIB


def take() -> None:
    """Written, since pages that nobody wrote to are not resident; held a little, for whoever samples."""
    block = np.ones(LARGE, dtype=np.uint8)
    time.sleep(0.05)
    del block


def test_a_peak_is_that_of_the_work_and_not_of_what_was_before() -> None:
    take()
    resident = psutil.Process().memory_info().rss
    small = peak_memory.peak_memory(lambda: None, "cpu")
    large = peak_memory.peak_memory(take, "cpu")
    assert small.how == large.how == "resident, kernel's peak"
    assert small.peak_bytes < resident + LARGE / 2
    assert large.peak_bytes > small.peak_bytes + 0.9 * LARGE


def test_where_the_kernel_does_not_reset_its_peak_it_is_sampled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(peak_memory, "_CLEAR_REFS", tmp_path / "none" / "clear_refs")
    resident = psutil.Process().memory_info().rss
    peak = peak_memory.peak_memory(take, "cpu")
    assert peak.how == "resident, sampled"
    assert peak.peak_bytes > resident + 0.8 * LARGE


def test_what_others_compute_is_theirs_and_what_we_compute_is_not() -> None:
    """On a machine with any load: bounds follow from what the processes themselves took."""
    tolerance = 0.15  # of a core's time, which is counted in hundredths of a second
    with watched_load() as ours:
        own_s, began = time.process_time(), time.monotonic()
        while time.process_time() - own_s < 1.0:
            pass
        whole_s = (time.monotonic() - began) * ours.cores
    assert ours.others_share is not None
    assert ours.others_share < 1 - (1.0 - tolerance) / whole_s

    spin = "while True: pass"
    other = subprocess.Popen([sys.executable, "-c", spin])
    try:
        process = psutil.Process(other.pid)
        before_s, began = process.cpu_times().user, time.monotonic()
        with watched_load() as theirs:
            while process.cpu_times().user - before_s < 1.0:
                time.sleep(0.05)
        whole_s = (time.monotonic() - began) * theirs.cores
    finally:
        # Only a process that was waited for is among our children's time.
        other.kill()
        other.wait()
    assert theirs.others_share is not None
    assert theirs.others_share > (1.0 - tolerance) / whole_s
