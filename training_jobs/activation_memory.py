"""Bytes of a rank's activations and logits in a training step: arithmetic over a model's widths, without torch.

What autograd keeps is counted tensor by tensor as `transformers.models.qwen2.modeling_qwen2` (a decoder layer),
:mod:`models.mctp` (a module, the levels) and :mod:`models.losses` (the head) make them.

Shapes: T tokens of a forward pass over all its rows, H width, I inner width, K width of the keys of all key heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from training_jobs.spec import StageSpec

FLOAT32 = 4
_WINDOW_TOKENS, _WINDOW_SHARE = 128, 16  # of models.windowed_attention: a window is the larger of these


@dataclass(frozen=True)
class Sizes:
    """What memory depends on of a stage's model.

    Attributes:
        heads: of the queries.
        key_width: of the keys of one token, all key heads together.
        layers: of the backbone; each module has one more.
        parameters: values in all, a tied head counted once.
        per_module: values of one module; 0 without modules.
        groups: values that are trained, by group of the optimizer.
        largest: values of the largest parameter, which is the embedding; ``largest_trained`` of those with a gradient.
        is_tied: whether the head is the embedding.
    """

    hidden: int
    intermediate: int
    heads: int
    key_width: int
    layers: int
    modules: int
    vocabulary: int
    parameters: int
    per_module: int
    groups: tuple[int, ...]
    largest: int
    largest_trained: int
    is_tied: bool
    trains_backbone: bool
    trains_head: bool

    @property
    def trainable(self) -> int:
        """Values that are trained."""
        return sum(self.groups)

    @property
    def levels(self) -> int:
        """Losses of a forward pass: the modules', and the backbone's unless the head is frozen beside them."""
        return self.modules + (self.modules == 0 or self.trains_head)


@dataclass(frozen=True)
class Device:
    """What a rank computes with.

    Attributes:
        attention: implementation, as :func:`models.packed_attention.choose` names it.
        loss_rows: labelled positions whose logits exist at a time (:func:`models.losses.chunk_rows`).
    """

    kind: Literal["cpu", "cuda"]
    is_bfloat16: bool
    attention: str
    loss_rows: int

    @property
    def value_bytes(self) -> int:
        """Of a weight or an activation."""
        return 2 if self.is_bfloat16 else FLOAT32


def kept_for_backward(sizes: Sizes, spec: StageSpec, device: Device) -> int:
    """Bytes that autograd keeps between forward and backward pass, the losses' gradients left out.

    With gradient checkpointing these are the inputs of each layer and module, and the embeddings, which all modules
    share. A backbone that is not trained has no graph: only embeddings and its last states are kept.
    """
    tokens, size = spec.micro_batch * spec.sequence_length, device.value_bytes
    states = tokens * sizes.hidden * size
    kept = 2 * states + _mask_bytes(sizes, spec, device)
    if sizes.trains_backbone:
        unit = states if spec.gradient_checkpointing else _layer(sizes, spec, device)
        kept += sizes.layers * unit + _norm(sizes, tokens, device)
    if sizes.modules:
        unit = states if spec.gradient_checkpointing else _module(sizes, spec, device)
        kept += sizes.modules * unit
    return kept


def worked_on(sizes: Sizes, spec: StageSpec, device: Device) -> int:
    """Bytes of the layer or module whose backward pass runs: made again where it was checkpointed, and its gradients.

    Of its gradients two of the inner width and two of the width exist at the same time (those of ``up_proj`` and
    ``gate_proj``, of the residual and the normed input).
    """
    tokens, size = spec.micro_batch * spec.sequence_length, device.value_bytes
    gradients = 2 * tokens * (sizes.intermediate + sizes.hidden) * size
    if not spec.gradient_checkpointing:
        return gradients
    return gradients + (_module(sizes, spec, device) if sizes.modules else _layer(sizes, spec, device))


def level_bytes(sizes: Sizes, spec: StageSpec, device: Device) -> int:
    """Bytes of the labelled hidden states of all levels, or of their gradients, were every token labelled."""
    tokens = spec.micro_batch * spec.sequence_length
    return sizes.levels * tokens * sizes.hidden * device.value_bytes


def logit_bytes(sizes: Sizes, spec: StageSpec, device: Device) -> int:
    """Bytes that the losses need: a chunk's logits, and the float32 gradient of the head over all levels.

    A GPU makes gradients of logits in place. Elsewhere a chunk of bfloat16 exists in both types for a moment
    (``models.losses``).
    """
    rows = min(device.loss_rows, spec.micro_batch * spec.sequence_length)
    in_place = device.kind == "cuda" or not device.is_bfloat16
    chunk = rows * sizes.vocabulary * (device.value_bytes if in_place else FLOAT32 + device.value_bytes)
    return chunk + (sizes.vocabulary * sizes.hidden * FLOAT32 if sizes.trains_head else 0)


def _norm(sizes: Sizes, tokens: int, device: Device) -> int:
    """Of an RMSNorm: its input (in float32), the normed input and what comes out."""
    return tokens * sizes.hidden * (FLOAT32 + 2 * device.value_bytes)


def _layer(sizes: Sizes, spec: StageSpec, device: Device) -> int:
    """Of a decoder layer: two norms; queries, keys, values and what attention gives; four of the inner width.

    The four are the gate before and after its activation, the other branch, and their product.
    """
    tokens, size = spec.micro_batch * spec.sequence_length, device.value_bytes
    attended = tokens * size * (2 * sizes.hidden + 2 * sizes.key_width) + _scores(sizes, spec, device)
    return 2 * _norm(sizes, tokens, device) + attended + 4 * tokens * sizes.intermediate * size


def _scores(sizes: Sizes, spec: StageSpec, device: Device) -> int:
    """Of attention what is not as long as the row alone.

    ``eager`` keeps its weights before and after the softmax. ``windowed`` lays its windows' outcomes together, so it
    has them twice. The others keep none.
    """
    rows, tokens = spec.micro_batch, spec.sequence_length
    if device.attention == "eager":
        return 2 * rows * sizes.heads * tokens * tokens * device.value_bytes
    if device.attention == "windowed":
        return rows * tokens * sizes.hidden * device.value_bytes
    return 0


def _module(sizes: Sizes, spec: StageSpec, device: Device) -> int:
    """Of a module: its layer, and three norms.

    What comes out of the norms of both inputs is laid side by side and kept as that.
    """
    tokens = spec.micro_batch * spec.sequence_length
    return _layer(sizes, spec, device) + 3 * _norm(sizes, tokens, device)


def _mask_bytes(sizes: Sizes, spec: StageSpec, device: Device) -> int:
    """Of the mask that all layers share: booleans, for ``eager`` numbers; windows have one each."""
    rows, tokens = spec.micro_batch, spec.sequence_length
    if device.attention == "eager":
        return rows * tokens * tokens * device.value_bytes
    if device.attention == "sdpa":
        return rows * tokens * tokens
    if device.attention == "windowed":
        return rows * tokens * max(_WINDOW_TOKENS, tokens // _WINDOW_SHARE)
    return 0
