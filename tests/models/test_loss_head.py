"""The losses of a head without its logits are the plain ones, to the last gradient, and hold nothing of its size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from models import losses
from models.losses import LossHead, chunk_rows, labelled
from models.packing import IGNORED

WEIGHTS = (1.0, 0.3, 0.0, 0.1)


def make_head(width: int, vocabulary: int, dtype: torch.dtype = torch.float32) -> LossHead:
    torch.manual_seed(0)
    head = LossHead(width, vocabulary).to(dtype)
    torch.nn.init.normal_(head.weight, std=0.3)
    return head


def make_levels(
    head: LossHead, sizes: tuple[int, ...], dtype: torch.dtype = torch.float32
) -> tuple[list[Tensor], list[Tensor]]:
    hidden = [torch.randn(size, head.in_features, dtype=dtype, requires_grad=True) for size in sizes]
    return hidden, [torch.randint(0, head.out_features, (size,)) for size in sizes]


def plain(head: LossHead, hidden: list[Tensor], targets: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    entropies = [
        functional.cross_entropy(head(states), ids, reduction="none")
        for states, ids in zip(hidden, targets, strict=True)
    ]
    means = [one.sum() / max(1, len(one)) for one in entropies]
    return sum(weight * mean for weight, mean in zip(WEIGHTS, means, strict=True)), entropies


def gradients_of(loss: Tensor, head: LossHead, hidden: list[Tensor]) -> list[Tensor]:
    wanted = [tensor for tensor in (head.weight, *hidden) if tensor.requires_grad]
    return list(torch.autograd.grad(loss, wanted))


def error(ours: Tensor, expected: Tensor) -> float:
    """Of all values together and of the worst, against the largest."""
    scale = expected.abs().max().clamp(min=1e-30)
    of_all = (ours - expected).norm() / expected.norm().clamp(min=1e-30)
    return max(((ours - expected).abs().max() / scale).item(), of_all.item())


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("vocabulary", "sizes"), [(168_072, (20, 12, 9, 7)), (301, (40, 0, 17, 23))])
def test_losses_and_gradients_are_the_plain_ones(
    monkeypatch: pytest.MonkeyPatch, vocabulary: int, sizes: tuple[int, ...], frozen: bool
) -> None:
    monkeypatch.setitem(losses.MAX_LOGITS, "cpu", 8 * vocabulary)  # chunks of 8, the last one smaller
    head = make_head(48, vocabulary).requires_grad_(not frozen)
    hidden, targets = make_levels(head, sizes)
    loss, *entropies = head(*hidden, targets_N=targets, weights=WEIGHTS)
    expected, expected_entropies = plain(head, hidden, targets)
    assert error(loss, expected) < 1e-5
    for ours, plains in zip(entropies, expected_entropies, strict=True):
        assert not ours.requires_grad
        torch.testing.assert_close(ours, plains.detach(), rtol=1e-5, atol=1e-5)
    ours = gradients_of(loss, head, hidden)
    for one, two in zip(ours, gradients_of(expected, head, hidden), strict=True):
        assert one.shape == two.shape
        if two.numel():
            assert error(one, two) < 1e-5


def test_in_double_precision_they_agree_to_its_last_digits() -> None:
    head = make_head(16, 50, torch.float64)
    hidden, targets = make_levels(head, (9, 5, 3, 7), torch.float64)
    loss = head(*hidden, targets_N=targets, weights=WEIGHTS)[0]
    expected = plain(head, hidden, targets)[0]
    for one, two in zip(gradients_of(loss, head, hidden), gradients_of(expected, head, hidden), strict=True):
        assert error(one, two) < 1e-13


def test_bfloat16_is_as_near_to_float32_as_the_plain_way_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(losses.MAX_LOGITS, "cpu", 8 * 301)
    monkeypatch.setattr(losses, "_VALUES_AT_ONCE", 50 * 64)  # of the head's gradient, in pieces of 50 words
    head = make_head(64, 301, torch.bfloat16)
    hidden, targets = make_levels(head, (40, 0, 17, 23), torch.bfloat16)
    exact_head = make_head(64, 301)
    exact_head.weight.data.copy_(head.weight.data)
    exact = [states.detach().float().requires_grad_() for states in hidden]
    expected = gradients_of(plain(exact_head, exact, targets)[0], exact_head, exact)
    loss = head(*hidden, targets_N=targets, weights=WEIGHTS)[0]
    assert loss.dtype == torch.float32
    ours = gradients_of(loss, head, hidden)
    theirs = gradients_of(plain(head, hidden, targets)[0], head, hidden)
    for one, other, two in zip(ours, theirs, expected, strict=True):
        assert one.dtype == torch.bfloat16
        if two.numel() and two.abs().max() > 0:
            assert error(one.float(), two) < 1.5 * max(error(other.float(), two), 4e-3)


def test_the_losses_gradient_reaches_all_gradients() -> None:
    head = make_head(16, 50)
    hidden, targets = make_levels(head, (9, 5, 3, 7))
    whole, quarter = (head(*hidden, targets_N=targets, weights=WEIGHTS)[0] for _ in range(2))
    for one, two in zip(
        gradients_of(whole, head, hidden), gradients_of(quarter / 4, head, hidden), strict=True
    ):
        torch.testing.assert_close(one / 4, two)


def test_gradients_add_up_in_one_head_over_micro_batches() -> None:
    head = make_head(16, 50)
    hidden, targets = make_levels(head, (9, 5, 3, 7))
    head(*hidden, targets_N=targets, weights=WEIGHTS)[0].backward()
    once = head.weight.grad.clone()
    head(*hidden, targets_N=targets, weights=WEIGHTS)[0].backward()
    torch.testing.assert_close(head.weight.grad, 2 * once)


def test_a_graph_is_run_backwards_once() -> None:
    head = make_head(16, 50)
    hidden, targets = make_levels(head, (9, 5, 3, 7))
    loss = head(*hidden, targets_N=targets, weights=WEIGHTS)[0]
    loss.backward(retain_graph=True)
    with pytest.raises(AssertionError, match="already"):
        loss.backward()


class Watch(TorchDispatchMode):
    """Counts products, and notes the largest tensor that was made."""

    def __init__(self) -> None:
        super().__init__()
        self.products, self.largest = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.products += func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm_)
        made = result if isinstance(result, tuple | list) else [result]
        self.largest = max([self.largest, *(one.numel() for one in made if isinstance(one, Tensor))])
        return result


@pytest.mark.parametrize(
    ("frozen", "training", "products"), [(False, True, 3), (True, True, 2), (False, False, 1)]
)
def test_three_products_a_chunk_and_nothing_larger_than_the_head_is_kept(
    monkeypatch: pytest.MonkeyPatch, frozen: bool, training: bool, products: int
) -> None:
    width, vocabulary, sizes = 32, 1000, (64, 40, 33, 16)
    monkeypatch.setitem(losses.MAX_LOGITS, "cpu", 16 * vocabulary)
    head = make_head(width, vocabulary).requires_grad_(not frozen)
    hidden, targets = make_levels(head, sizes)
    with torch.set_grad_enabled(training), Watch() as forward:
        loss = head(*hidden, targets_N=targets, weights=WEIGHTS)[0]
    chunks = sum(-(-size // 16) for size in sizes)
    assert forward.products == products * chunks
    assert forward.largest <= vocabulary * width  # a chunk of 16 has half as many logits
    if not training:
        return
    kept = [
        tensor for tensor in (loss.grad_fn.gradients[0], *loss.grad_fn.gradients[1]) if tensor is not None
    ]
    assert sum(tensor.numel() for tensor in kept) == sum(sizes) * width + (not frozen) * vocabulary * width
    with Watch() as backward:
        loss.backward()
    assert backward.products == 0
    assert backward.largest <= vocabulary * width


def test_frozen_hidden_states_get_no_gradient() -> None:
    head = make_head(16, 50)
    hidden, targets = make_levels(head, (9, 5, 3, 7))
    hidden[0].requires_grad_(False)
    loss = head(*hidden, targets_N=targets, weights=WEIGHTS)[0]
    assert loss.grad_fn.gradients[1][0] is None
    expected = plain(head, hidden, targets)[0]
    for one, two in zip(gradients_of(loss, head, hidden), gradients_of(expected, head, hidden), strict=True):
        assert error(one, two) < 1e-5


def test_chunks_are_of_the_heads_size_and_bounded() -> None:
    assert chunk_rows(896, 42_018, "cpu") == 896
    assert chunk_rows(896, 168_072, "cpu") == 399
    assert chunk_rows(3584, 168_072, "cuda") == 1597
    assert chunk_rows(64, 300, "cpu") == 512
    assert chunk_rows(64, 1 << 27, "cpu") == 1


def test_labelled_takes_positions_in_order_and_gives_the_others_no_gradient() -> None:
    hidden = torch.randn(2, 5, 3, requires_grad=True)
    targets = torch.tensor([[IGNORED, 4, IGNORED, 2, IGNORED], [7, IGNORED, IGNORED, IGNORED, 1]])
    states, ids = labelled(hidden, targets)
    assert ids.tolist() == [4, 2, 7, 1]
    torch.testing.assert_close(states, hidden[targets != IGNORED])
    states.sum().backward()
    assert (hidden.grad.sum(dim=2) > 0).equal(targets != IGNORED)
