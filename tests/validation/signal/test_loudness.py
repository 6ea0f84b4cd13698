"""Loudness against the test signals of EBU Tech 3341 and the reference tone of BS.1770."""

from __future__ import annotations

import numpy as np
import pytest

from validation.signal.loudness import loudness_lufs


def sine(dbfs: float, seconds: float, rate: int = 48_000, hertz: float = 1_000.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (10 ** (dbfs / 20) * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_a_full_scale_tone_of_997_hz_reads_minus_three(rate):
    assert loudness_lufs(sine(0.0, 5.0, rate, 997.0), rate) == pytest.approx(-3.01, abs=0.1)


@pytest.mark.parametrize(
    "parts",
    [
        # EBU Tech 3341, signals 1 to 4; on one channel each reads 3.01 LU less than on the two that it is given for.
        [(-23.0, 20.0)],
        [(-33.0, 20.0)],
        [(-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0)],
        [(-72.0, 10.0), (-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0), (-72.0, 10.0)],
    ],
)
def test_signals_of_tech_3341(parts):
    signal = np.concatenate([sine(level, seconds) for level, seconds in parts])
    wanted = max(level for level, _ in parts) - 3.01
    assert loudness_lufs(signal, 48_000) == pytest.approx(wanted, abs=0.1)


def test_a_word_shorter_than_a_block_has_a_loudness_too():
    assert loudness_lufs(sine(-20.0, 0.15), 48_000) == pytest.approx(-23.0, abs=0.3)


def test_nothing_above_the_absolute_gate_has_none():
    assert loudness_lufs(sine(-75.0, 5.0), 48_000) is None
    assert loudness_lufs(np.zeros(10, dtype=np.float32), 48_000) is None
