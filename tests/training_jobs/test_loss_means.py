"""What is reported as a loss: means over micro batches that have one."""

from __future__ import annotations

import pytest
import torch

from training_jobs.batches import Batch
from training_jobs.history import Losses
from training_jobs.loss_means import LossSums


def batch(labels: int, tokens: int = 8) -> Batch:
    """One sample whose last ``labels`` tokens have a label."""
    ids_BT = torch.arange(tokens)[None]
    labels_BT = torch.where(ids_BT >= tokens - labels, ids_BT, -100)
    return Batch((0,), ids_BT, labels_BT, ids_BT.clone(), tokens)


def test_each_loss_is_the_mean_over_the_micro_batches_that_have_it() -> None:
    """Module 1 at position t predicts token t+3: in a sample of three tokens it has none to predict."""
    sums = LossSums()
    sums.add(Losses(4.0, 3.0, [2.0, 1.0]), batch(labels=8))
    sums.add(Losses(2.0, 1.0, [1.0, 0.0]), batch(labels=3, tokens=3))
    means = sums.means(sums.to_list())
    assert means.loss == pytest.approx(3.0)
    assert means.backbone_loss == pytest.approx(2.0)
    assert means.module_losses == pytest.approx([1.5, 1.0])


def test_ranks_with_other_numbers_of_labelled_micro_batches_weigh_by_them() -> None:
    one, two = LossSums(), LossSums()
    one.add(Losses(1.0, None, [4.0]), batch(labels=8))
    two.add(Losses(1.0, None, [0.0]), batch(labels=2, tokens=2))
    over_ranks = [(first + second) / 2 for first, second in zip(one.to_list(), two.to_list(), strict=True)]
    means = one.means(over_ranks)
    assert means.backbone_loss is None
    assert means.module_losses == pytest.approx([4.0])


def test_a_module_that_no_micro_batch_has_a_label_for_says_zero() -> None:
    sums = LossSums()
    sums.add(Losses(1.0, None, [0.0]), batch(labels=2, tokens=2))
    assert sums.means(sums.to_list()).module_losses == [0.0]
