"""Dead channels and channels against each other are found before they are mixed."""

from __future__ import annotations

import numpy as np
import pytest

from validation.signal.channels import MONO, channel_measures


def voice(seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(16_000)).astype(np.float32)


def stacked(*channels: np.ndarray):
    return channel_measures(np.stack(channels, axis=1).astype(np.float32))


def test_one_channel_and_two_equal_ones_have_no_fault():
    assert stacked(voice()) == MONO
    assert stacked(voice(), voice()).channel_correlation == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("other", [np.zeros(16_000), 1e-5 * voice(1)])
def test_a_channel_without_sound_is_dead_and_correlates_with_nothing(other):
    found = stacked(voice(), other)
    assert found.dead_channels == 1
    assert found.channel_correlation == pytest.approx(1.0, abs=1e-5)


def test_a_quieter_channel_is_not_dead():
    assert stacked(voice(), 0.01 * voice()).dead_channels == 0


@pytest.mark.parametrize("gain", [-1.0, -0.3])
def test_anti_phase_is_a_correlation_of_minus_one_whatever_the_gain(gain):
    assert stacked(voice(), gain * voice()).channel_correlation == pytest.approx(-1.0, abs=1e-5)


def test_microphones_apart_are_uncorrelated():
    assert abs(stacked(voice(0), voice(1), voice(2), voice(3)).channel_correlation) < 0.05


def test_silence_on_all_channels_is_no_fault_of_one():
    assert stacked(np.zeros(100), np.zeros(100)) == MONO


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_samples_that_are_no_numbers_do_not_hide_a_fault(value):
    damaged = voice()
    damaged[7] = value
    assert stacked(damaged, np.zeros(16_000)).dead_channels == 1
