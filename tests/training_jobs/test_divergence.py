"""When a loss or a gradient that is still a number ends a stage."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from training_jobs.divergence import exploded, is_suspicious
from training_jobs.history import StepRecord
from training_jobs.spec import Explosion

LIMITS = Explosion(window=8, nats=3.0, deviations=10.0, gradient_factor=100.0, in_a_row=3)
CALM = [2.0, 2.1, 1.9, 2.0, 2.2, 1.8, 2.0, 2.0]


def steps(losses: Sequence[float], norms: Sequence[float] | None = None) -> list[StepRecord]:
    return [
        StepRecord(number, loss, None, [], 1e-3, norm, 10, 0.1)
        for number, (loss, norm) in enumerate(zip(losses, norms or [1.0] * len(losses), strict=True))
    ]


def test_three_losses_in_a_row_far_above_the_usual_are_an_explosion() -> None:
    assert exploded(steps([*CALM, 5.1, 5.2, 9.0]), LIMITS) == (
        "loss has exploded (5.1, 5.2, 9; usual were 2, the limit is 5)"
    )


@pytest.mark.parametrize(
    "losses",
    [
        [*CALM, 5.1, 5.2, 4.9],  # comes back
        [*CALM, 4.9, 5.1, 5.2],  # two so far
        [*CALM[1:], 9.0, 9.0, 9.0],  # too few before to say what is usual
        [1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 9.0, 9.0, 9.0],  # far apart at all times
        [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 2.0, 2.0, 2.0],  # falls
    ],
)
def test_anything_less_is_none(losses: list[float]) -> None:
    assert exploded(steps(losses), LIMITS) is None


def test_gradients_far_above_the_usual_are_one_too() -> None:
    norms = [0.5] * 8 + [51.0, 60.0, 70.0]
    assert exploded(steps([2.0] * 11, norms), LIMITS) == (
        "gradient norm has exploded (51, 60, 70; usual were 0.5, the limit is 50)"
    )
    assert exploded(steps([2.0] * 11, [*norms[:-1], 49.0]), LIMITS) is None


def test_the_newest_step_alone_makes_one_suspicious() -> None:
    assert is_suspicious(steps([*CALM, 5.1]), LIMITS)
    assert not is_suspicious(steps([*CALM, 5.1, 2.0]), LIMITS)
    assert not is_suspicious(steps([*CALM[1:], 5.1]), LIMITS)


def test_a_stage_without_limits_never_explodes() -> None:
    records = steps([*CALM, 90.0, 90.0, 90.0])
    assert exploded(records, None) is None
    assert not is_suspicious(records, None)
