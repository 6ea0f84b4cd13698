"""Losses of a head in 16 bits on a GPU, against the same in float32; skipped without a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.losses import LossHead

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
GPU = torch.device("cuda")
ROWS = (700, 0, 33)  # of three levels
WEIGHTS = (1.0, 0.5, 0.3)


def losses_and_gradients(
    head: LossHead, hidden: list[Tensor], targets: list[Tensor]
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    loss, *entropies = head(*hidden, targets_N=targets, weights=WEIGHTS)
    wanted = [one for one in (head.weight, *hidden) if one.requires_grad]
    return loss, entropies, list(torch.autograd.grad(loss, wanted))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("vocabulary", [301, 8192, 168_072])
def test_they_and_their_gradients_are_those_of_float32(vocabulary: int, frozen: bool) -> None:
    torch.manual_seed(0)
    head = LossHead(256, vocabulary).to(GPU, torch.bfloat16)
    head.weight.requires_grad_(not frozen)
    exact = LossHead(256, vocabulary).to(GPU).requires_grad_(not frozen)
    exact.weight.data.copy_(head.weight)
    hidden = [
        torch.randn(rows, 256, device=GPU, dtype=torch.bfloat16, requires_grad=True) * 4 for rows in ROWS
    ]
    targets = [torch.randint(0, vocabulary, (rows,), device=GPU) for rows in ROWS]
    targets[0][:2] = torch.tensor([0, vocabulary - 1])  # the ends of a row
    ours = losses_and_gradients(head, hidden, targets)
    theirs = losses_and_gradients(exact, [one.detach().float().requires_grad_() for one in hidden], targets)
    assert ours[0].item() == pytest.approx(theirs[0].item(), rel=1e-3)
    for one, other in zip(ours[1], theirs[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=2e-2)
    for one, other in zip(ours[2], theirs[2], strict=True):
        assert (one.float() - other).norm() <= 1e-2 * other.norm()


def test_without_gradients_they_are_the_same() -> None:
    torch.manual_seed(0)
    head = LossHead(64, 1003).to(GPU, torch.bfloat16)
    hidden_ND = torch.randn(50, 64, device=GPU, dtype=torch.bfloat16)
    targets_N = torch.randint(0, 1003, (50,), device=GPU)
    with torch.no_grad():
        without = head(hidden_ND, targets_N=(targets_N,), weights=(1.0,))
    within = head(hidden_ND, targets_N=(targets_N,), weights=(1.0,))
    assert torch.equal(without[1], within[1])
