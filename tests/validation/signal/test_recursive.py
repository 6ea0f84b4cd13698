"""Filtering in blocks gives what filtering sample by sample does."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, sosfilt

from validation.signal.loudness import _k_weighting
from validation.signal.recursive import BlockFilter


@pytest.mark.parametrize("rate", [2_000, 8_000, 16_000, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 1_000, 48_000])
def test_equals_scipy(rate, size):
    samples = (0.1 * np.random.default_rng(size).standard_normal(size) + 0.05).astype(np.float32)
    sections = _k_weighting(rate)
    found = BlockFilter.of(sections)(samples)
    wanted = sosfilt(sections, samples.astype(np.float64))
    assert found.dtype == np.float32 and found.shape == samples.shape
    # The higher the rate, the more a float32 rounds of a filter at 38 Hz; of the power, which is measured, far less.
    np.testing.assert_allclose(found, wanted, atol=5e-3 if rate > 48_000 else 1e-4)
    assert np.dot(found, found) == pytest.approx(np.dot(wanted, wanted), rel=1e-3 if rate > 48_000 else 1e-5)


@pytest.mark.parametrize("order", [2, 5, 8])
def test_any_cascade_of_second_order_will_do(order):
    sections = butter(order, 0.1, output="sos")
    samples = np.random.default_rng(order).standard_normal(10_000).astype(np.float32)
    wanted = sosfilt(sections, samples.astype(np.float64))
    np.testing.assert_allclose(BlockFilter.of(sections)(samples), wanted, atol=1e-4)
