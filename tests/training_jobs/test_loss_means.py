"""What is reported as a loss: means over micro batches that have one."""

from __future__ import annotations

import pytest
import torch

from training_jobs.history import Losses
from training_jobs.loss_means import LossSums


def label_losses(*labels: int) -> list[torch.Tensor]:
    """Those of levels with so many labels each."""
    return [torch.ones(one) for one in labels]


def test_each_loss_is_the_mean_over_the_micro_batches_that_have_it() -> None:
    """The second micro batch has no label for the farther module."""
    sums = LossSums()
    sums.add(Losses(4.0, 3.0, [2.0, 1.0]), label_losses(7, 6, 5))
    sums.add(Losses(2.0, 1.0, [1.0, 0.0]), label_losses(2, 1, 0))
    means = sums.means(sums.to_list())
    assert means.loss == pytest.approx(3.0)
    assert means.backbone_loss == pytest.approx(2.0)
    assert means.module_losses == pytest.approx([1.5, 1.0])


def test_ranks_with_other_numbers_of_labelled_micro_batches_weigh_by_them() -> None:
    one, two = LossSums(), LossSums()
    one.add(Losses(1.0, None, [4.0]), label_losses(6))
    two.add(Losses(1.0, None, [0.0]), label_losses(0))
    over_ranks = [(first + second) / 2 for first, second in zip(one.to_list(), two.to_list(), strict=True)]
    means = one.means(over_ranks)
    assert means.backbone_loss is None
    assert means.module_losses == pytest.approx([4.0])


def test_a_module_that_no_micro_batch_has_a_label_for_says_zero() -> None:
    sums = LossSums()
    sums.add(Losses(1.0, None, [0.0]), label_losses(0))
    assert sums.means(sums.to_list()).module_losses == [0.0]
