"""The modules' weights under a curriculum."""

from __future__ import annotations

import pytest

from training_jobs.curriculum import module_weights
from training_jobs.spec import Curriculum, StageSpec, load_stage


def spec_with(modules: int, until_share: float, steps: int = 100) -> StageSpec:
    changes = {"mctp_modules": modules, "steps": steps, "curriculum": Curriculum(until_share=until_share)}
    return load_stage("multi_mctp", "tiny").model_copy(update=changes)


def test_without_a_curriculum_nothing_is_weighted() -> None:
    assert module_weights(load_stage("multi_mctp", "7b"), 0) is None


def test_the_nearest_module_comes_first_and_all_weigh_the_same_in_the_end() -> None:
    spec = spec_with(4, 0.6)
    by_step = [module_weights(spec, step) for step in range(spec.steps)]
    assert by_step[0] == (4.0, 0.0, 0.0, 0.0)
    assert by_step[20] == pytest.approx((2.0, 2.0, 0.0, 0.0))
    assert by_step[30] == pytest.approx((1.6, 1.6, 0.8, 0.0))
    assert set(by_step[60:]) == {(1.0, 1.0, 1.0, 1.0)}


@pytest.mark.parametrize("modules", [1, 2, 10])
@pytest.mark.parametrize("until_share", [0.01, 0.5, 1.0])
def test_the_loss_stays_a_mean_and_no_farther_module_outweighs_a_nearer_one(
    modules: int, until_share: float
) -> None:
    spec = spec_with(modules, until_share)
    for step in range(spec.steps):
        weights = module_weights(spec, step)
        assert weights is not None
        assert sum(weights) == pytest.approx(modules)
        assert list(weights) == sorted(weights, reverse=True)
