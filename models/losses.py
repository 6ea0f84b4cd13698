"""Cross entropies of several levels against one head, at labelled positions only and with no logits kept.

A level is the backbone or one MCTP module: hidden states that the same head turns into logits. All levels go through
one autograd function, which makes a chunk's logits, takes their gradients at once, and forgets them. What remains for
the backward pass is one gradient of the head for all levels, and one of the labelled hidden states for each.

Shapes: B rows, T tokens, D width, V vocabulary, N labelled positions of a level, C of these in a chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.packing import IGNORED

# Logits of a chunk: 2^26 are 256 MiB in float32. A row of 32,768 tokens over 168,072 codes has 82 times that.
MAX_LOGITS = {"cpu": 1 << 26, "cuda": 1 << 28}
# A chunk reads and writes the whole gradient of the head. With so many positions its three products take far longer.
_ENOUGH_ROWS = 512
_HALF = (torch.bfloat16, torch.float16)
_VALUES_AT_ONCE = (
    1 << 24
)  # times the width: values of a product that is on its way into the gradient of the head


def chunk_rows(width: int, vocabulary: int, device_type: str) -> int:
    """Labelled positions whose logits exist at the same time.

    With ``width`` of them they are as large as the gradient of the head, which is there anyway.
    """
    most = MAX_LOGITS.get(device_type, MAX_LOGITS["cuda"]) // vocabulary
    return max(1, min(max(width, _ENOUGH_ROWS), most))


def labelled(hidden_BTD: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
    """The hidden states of shape (N, D) and the targets at positions that have a target, by rows and tokens."""
    targets = targets_BT.flatten()
    places_N = (targets != IGNORED).nonzero().flatten()
    return hidden_BTD.flatten(0, 1).index_select(0, places_N), targets[places_N]


class LossHead(nn.Linear):
    """The head of a language model: logits, or the losses of some levels without their logits.

    The losses belong to its own forward pass, so that what gathers a module's weights for its forward pass (stage 3 of
    ZeRO) gathers them for the losses.
    """

    def __init__(self, width: int, vocabulary: int, device: torch.device | str | None = None) -> None:
        super().__init__(width, vocabulary, bias=False, device=device)

    def forward(
        self, *hidden: Tensor, targets_N: Sequence[Tensor] = (), weights: Sequence[float] = ()
    ) -> Any:
        """Logits of hidden states; or, with targets, the loss and then each level's cross entropies.

        Args:
            hidden: hidden states of any shape (…, D); with targets those of each level, of shape (N, D).
            targets_N: the ids that each level's hidden states are to predict.
            weights: of each level's mean cross entropy in the loss.

        Returns:
            Without targets the logits. With them a tuple: the weighted sum of the levels' means, in float32, and for
            each level its N cross entropies in nats, detached. A level with no target has a loss of zero, and is
            still part of the graph: on several ranks every parameter must get a gradient in the same steps. The
            graph can be run backwards once, and not differentiated twice.
        """
        if not targets_N:
            (one,) = hidden
            return super().forward(one)
        chunk = chunk_rows(self.in_features, self.out_features, self.weight.device.type)
        return _Losses.apply(  # type: ignore[no-untyped-call]  # as PyTorch has it
            self.weight, tuple(targets_N), tuple(weights), chunk, torch.is_grad_enabled(), *hidden
        )


class _Losses(torch.autograd.Function):
    """The loss over all levels, with its gradients made on the way.

    A chunk takes three products with the head (its logits, the gradients of its hidden states and of the head), two
    where the head is frozen, one without gradients; the backward pass takes none.
    """

    @staticmethod
    def forward(
        ctx: Any,
        weight_VD: Tensor,
        targets: Sequence[Tensor],
        weights: Sequence[float],
        chunk: int,
        has_gradients: bool,
        *hidden: Tensor,
    ) -> tuple[Tensor, ...]:
        exact = torch.promote_types(weight_VD.dtype, torch.float32)
        needed = [has_gradients and one for one in ctx.needs_input_grad]
        of_head_VD = torch.zeros_like(weight_VD, dtype=exact) if needed[0] else None
        of_hidden = [
            torch.empty_like(one) if is_needed else None
            for one, is_needed in zip(hidden, needed[5:], strict=True)
        ]
        loss, entropies = weight_VD.new_zeros((), dtype=exact), []
        for hidden_ND, targets_N, weight, of_hidden_ND in zip(
            hidden, targets, weights, of_hidden, strict=True
        ):
            scale = weight / max(1, len(targets_N))
            entropies_N = weight_VD.new_empty(len(targets_N), dtype=exact)
            for start in range(0, len(targets_N), chunk):
                part = slice(start, start + chunk)
                of_part_CD = None if of_hidden_ND is None else of_hidden_ND[part]
                entropies_N[part] = _one_chunk(
                    hidden_ND[part], targets_N[part], weight_VD, scale, of_part_CD, of_head_VD
                )
            loss += entropies_N.sum() * scale
            entropies.append(entropies_N)
        ctx.mark_non_differentiable(*entropies)
        ctx.set_materialize_grads(False)
        ctx.gradients, ctx.dtype = (of_head_VD, of_hidden), weight_VD.dtype
        return loss, *entropies

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, loss_gradient: Tensor, *_: None) -> tuple[Tensor | None, ...]:
        assert ctx.gradients is not None, "the graph of these losses has been run backwards already"
        of_head_VD, of_hidden = ctx.gradients
        # They are scaled in place, and autograd need not copy what nobody else refers to.
        ctx.gradients = None
        if of_head_VD is not None:
            of_head_VD = of_head_VD.mul_(loss_gradient).to(ctx.dtype)
        scaled = [None if one is None else one.mul_(loss_gradient) for one in of_hidden]
        return of_head_VD, None, None, None, None, *scaled


def _one_chunk(
    hidden_CD: Tensor,
    targets_C: Tensor,
    weight_VD: Tensor,
    scale: float,
    of_hidden_CD: Tensor | None,
    of_head_VD: Tensor | None,
) -> Tensor:
    """Cross entropies of a chunk; fills its part of one gradient and adds to the other, if they are wanted.

    The logits become their softmax and then their gradients, ``scale`` times, in place: nothing else is as large.
    """
    if weight_VD.is_cuda and weight_VD.dtype in _HALF:
        return _one_chunk_on_gpu(hidden_CD, targets_C, weight_VD, scale, of_hidden_CD, of_head_VD)
    scores_CV = (hidden_CD @ weight_VD.T).to(torch.promote_types(weight_VD.dtype, torch.float32))
    scores_CV -= scores_CV.amax(dim=1, keepdim=True)
    at_target_C = scores_CV.gather(1, targets_C[:, None]).squeeze(1)
    sums_C1 = scores_CV.exp_().sum(dim=1, keepdim=True)
    if of_hidden_CD is not None or of_head_VD is not None:
        scores_CV *= scale / sums_C1
        scores_CV[torch.arange(len(targets_C), device=targets_C.device), targets_C] -= scale
        errors_CV = scores_CV.to(weight_VD.dtype)
        if of_hidden_CD is not None:
            torch.mm(errors_CV, weight_VD, out=of_hidden_CD)
        if of_head_VD is not None:
            _add_product(of_head_VD, errors_CV, hidden_CD)
    return sums_C1.squeeze(1).log() - at_target_C


def _one_chunk_on_gpu(
    hidden_CD: Tensor,
    targets_C: Tensor,
    weight_VD: Tensor,
    scale: float,
    of_hidden_CD: Tensor | None,
    of_head_VD: Tensor | None,
) -> Tensor:
    """The same in 16 bits on a GPU, where logits become gradients in their own type and place."""
    from models.loss_kernels import entropies

    scores_CV = hidden_CD @ weight_VD.T
    if of_hidden_CD is None and of_head_VD is None:
        return entropies(scores_CV, targets_C)
    entropies_C = entropies(scores_CV, targets_C, scale)
    if of_hidden_CD is not None:
        torch.mm(scores_CV, weight_VD, out=of_hidden_CD)
    if of_head_VD is not None:
        # One product, which sums up in float32.
        torch.addmm(of_head_VD, scores_CV.T, hidden_CD, out_dtype=torch.float32, out=of_head_VD)
    return entropies_C


def _add_product(total_VD: Tensor, errors_CV: Tensor, hidden_CD: Tensor) -> None:
    """Add errors^T x hidden to the gradient of the head."""
    if errors_CV.dtype == total_VD.dtype:
        total_VD.addmm_(errors_CV.T, hidden_CD)
        return
    # Summed up in float32, some words at a time: the product over all words would be a second gradient of the head.
    words = max(1, _VALUES_AT_ONCE // hidden_CD.shape[1])
    for start in range(0, len(total_VD), words):
        errors = errors_CV[:, start : start + words]
        total_VD[start : start + words].add_(errors.T @ hidden_CD)
