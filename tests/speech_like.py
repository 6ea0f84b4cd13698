"""Sound that no measure finds fault with."""

from __future__ import annotations

import numpy as np


def speech_like(seconds: float, rate_hz: int, seed: int = 0) -> np.ndarray:
    """A buzz in syllables with pauses and faint noise, float32, peak 0.5."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    pitch = 110 + 40 * rng.random()
    buzz = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, int(0.4 * rate_hz / pitch)))
    envelope = np.clip(np.sin(2 * np.pi * 3 * time + rng.random()), 0, None)
    signal = 0.5 * buzz * envelope / np.abs(buzz).max() + 1e-4 * rng.standard_normal(time.size)
    return signal.astype(np.float32)
