"""Memory of one rank in a training stage, by kind and moment: arithmetic, without torch or a device.

The formulas follow what DeepSpeed 0.19 allocates for our configuration (:mod:`training_jobs.deepspeed_config`):

| what | where it is allocated |
|---|---|
| ZeRO 2; ZeRO 1 in float32 or with offloading | ``runtime/zero/stage_1_and_2.py`` |
| ZeRO 1 in bfloat16 | ``runtime/bf16_optimizer.py``, because gradients are added up in float32 |
| ZeRO 3 | ``runtime/zero/stage3.py``, ``partition_parameters.py`` |
| Adam | ``torch.optim.adam`` |

P values in all, Q of them trained, S = Q / ranks the share that a rank updates, b bytes of a weight (2 or 4).
`tests/bench/preflight.py` compares the outcome with what stages have taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

from training_jobs.activation_memory import (
    FLOAT32,
    Device,
    Sizes,
    kept_for_backward,
    level_bytes,
    logit_bytes,
    worked_on,
)
from training_jobs.spec import StageSpec

KINDS = ("weights", "gradients", "optimizer", "activations", "logits")
# DeepSpeed's defaults (runtime/zero/config.py), in values, which our configuration leaves as they are.
BUCKET = 500_000_000  # reduce_bucket_size
_LIVE = 1_000_000_000  # stage3_max_live_parameters and stage3_max_reuse_distance
_GATHERED = 50_000_000  # stage3_prefetch_bucket_size: what is gathered at a time
_SUB_GROUP = 1_000_000_000  # sub_group_size: what ZeRO 3 updates at a time
_FLOAT64 = 8  # of a gradient's norm


@dataclass(frozen=True)
class Memory:
    """Bytes on a device at one moment of a step, by kind."""

    moment: str
    weights: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0
    logits: int = 0

    @property
    def total(self) -> int:
        """Of all kinds."""
        return sum(getattr(self, kind) for kind in KINDS)


@dataclass(frozen=True)
class RankMemory:
    """What one rank needs.

    Attributes:
        moments: of a step, and how the device stands then; the largest decides.
        host: bytes in the host's memory beside a GPU: what is offloaded, or the whole model while it is read, which is
            all there before a rank moves it to its GPU.
    """

    moments: tuple[Memory, ...]
    host: int

    @property
    def peak(self) -> Memory:
        """The moment of the most memory."""
        return max(self.moments, key=lambda moment: moment.total)


@dataclass(frozen=True)
class _Gradients:
    """Bytes for gradients: beside a forward pass, in a backward pass, when all are there, and for the update.

    ``owned`` of them are there when the norm is taken; ``flat`` of the update's are a copy.
    """

    held: int
    flowing: int
    reduced: int
    owned: int
    flat: int = 0


def rank_memory(sizes: Sizes, spec: StageSpec, ranks: int, device: Device) -> RankMemory:
    """What each of ``ranks`` ranks needs for the stage, were every token of its rows labelled.

    The moments: `start`, when DeepSpeed lays out the weights; `losses`, at the end of a forward pass; `backward`, as
    it begins and most activations are still there; `reduced`, at its end, when all gradients are; `norm` of these; and
    `update`, by Adam.
    Rank r's share is taken to be S exactly: DeepSpeed rounds up to a multiple of the ranks.
    """
    weights = _weights(sizes, spec, ranks, device)
    optimizer, host = _optimizer(sizes, spec, ranks, device)
    gradients = _GRADIENTS[_kind_of(spec, device)](sizes, spec, ranks, device)
    kept, levels = kept_for_backward(sizes, spec, device), level_bytes(sizes, spec, device)
    states = spec.micro_batch * spec.sequence_length * sizes.hidden * device.value_bytes
    forward, backward, resting = (
        Memory("", weights=one, optimizer=optimizer)
        for one in (weights.forward, weights.backward, weights.resting)
    )
    moments = (
        weights.start,
        replace(
            forward,
            moment="losses",
            gradients=gradients.held,
            activations=kept + 2 * levels,
            logits=logit_bytes(sizes, spec, device),
        ),
        replace(
            backward,
            moment="backward",
            gradients=gradients.flowing,
            activations=kept + levels + states + worked_on(sizes, spec, device),
        ),
        replace(backward, moment="reduced", gradients=gradients.reduced, activations=2 * states),
        replace(resting, moment="norm", gradients=gradients.owned + _norm_bytes(sizes, ranks)),
        replace(
            resting,
            moment="update",
            gradients=gradients.owned + gradients.flat,
            optimizer=optimizer + (0 if spec.offload != "none" else _adam(sizes, spec, ranks, device)),
        ),
    )
    if spec.offload != "none":
        host += _adam(sizes, spec, ranks, Device("cpu", device.is_bfloat16, "", 0))
    if device.kind == "cuda":
        return RankMemory(moments, max(host, sizes.parameters * device.value_bytes))
    # On a CPU, what is offloaded lies in the same memory.
    return RankMemory(tuple(replace(one, optimizer=one.optimizer + host) for one in moments), 0)


def checkpoint_bytes(sizes: Sizes, device: Device) -> int:
    """Of one checkpoint of all ranks together: float32 weights, Adam's two moments, and the weights as they are.

    Frozen weights are not in it. Of every trained value; files of names and shapes are left out.
    """
    return sizes.trainable * (3 * FLOAT32 + device.value_bytes)


@dataclass(frozen=True)
class _Weights:
    """Of the weights: as a stage starts, in a forward pass, in a backward pass, and while Adam works."""

    start: Memory
    forward: int
    backward: int
    resting: int


def _weights(sizes: Sizes, spec: StageSpec, ranks: int, device: Device) -> _Weights:
    """All of them below ZeRO 3: bP; while a group is laid out flat it is there twice (``flatten_dense_tensors``).

    ZeRO 3 loads the whole model and keeps bP/ranks, on the host where weights are offloaded. What a pass gathers stays,
    up to DeepSpeed's limit on live values and one parameter more; what arrives together lies beside it, too, until all
    of it has been asked for (``AllGatherCoalescedHandle``): in a forward pass until the head is, in a backward pass
    only where weights had to go and are gathered again. A single rank gathers nothing.
    """
    size, whole = device.value_bytes, sizes.parameters * device.value_bytes
    if spec.zero_stage != 3:
        masters = 0 if spec.offload != "none" else ceil(sizes.trainable / ranks) * FLOAT32
        start = Memory("start", weights=whole + max(sizes.groups) * size, optimizer=masters)
        return _Weights(start, whole, whole, whole)
    share = ceil(sizes.parameters / ranks) * size
    kept = 0 if spec.offload == "weights" and device.kind == "cuda" else share
    gathers = ranks > 1 or spec.offload == "weights"
    live = min(sizes.parameters, _LIVE + sizes.largest) * size * gathers
    arriving = min(sizes.parameters, _GATHERED) * size * gathers
    again = arriving if sizes.parameters > _LIVE else 0
    return _Weights(Memory("start", weights=whole + share), kept + live + arriving, kept + live + again, kept)


def _optimizer(sizes: Sizes, spec: StageSpec, ranks: int, device: Device) -> tuple[int, int]:
    """Bytes on the device and on the host: float32 weights and Adam's moments, 12S.

    There is a float32 copy of the weights in float32, too (``single_partition_of_fp32_groups``; ZeRO 3 means to do
    without in ``_create_fp32_partitions``, but compares a device with its name). Offloaded, there is a float32 gradient
    beside (4S), and what travels:
    the new weights (bS) and the largest gradient in ZeRO 1 and 2, all gradients (4S) in ZeRO 3.
    """
    share, size = ceil(sizes.trainable / ranks), device.value_bytes
    state = share * FLOAT32 * 3
    if spec.offload == "none":
        return state, 0
    if spec.zero_stage != 3:
        return 0, state + share * (FLOAT32 + size) + sizes.largest_trained * size
    weights = ceil(sizes.parameters / ranks) * size if spec.offload == "weights" else 0
    return 0, state + 2 * share * FLOAT32 + weights


def _adam(sizes: Sizes, spec: StageSpec, ranks: int, device: Device) -> int:
    """Of Adam's update of the largest group: its denominator, on a CPU in two pieces (``torch.optim.adam``).

    A GPU works on all of a group at once as well (``foreach``): DeepSpeed gives it one tensor per group.
    """
    return _at_a_time(sizes, spec, ranks) * FLOAT32 * (1 if device.kind == "cuda" else 2)


def _at_a_time(sizes: Sizes, spec: StageSpec, ranks: int) -> int:
    """Values of the largest tensor that is updated at once."""
    share = ceil(max(sizes.groups) / ranks)
    return min(share, _SUB_GROUP + ceil(sizes.largest_trained / ranks)) if spec.zero_stage == 3 else share


def _norm_bytes(sizes: Sizes, ranks: int) -> int:
    """The norm of a gradient is taken in float64 (``get_grad_norm_direct``), one gradient after another."""
    return min(sizes.largest_trained, ceil(sizes.trainable / ranks)) * _FLOAT64


def _kind_of(spec: StageSpec, device: Device) -> str:
    if spec.zero_stage == 3:
        return "stage3"
    keeps_float32 = spec.zero_stage == 1 and device.is_bfloat16 and spec.offload == "none"
    return "bf16_optimizer" if keeps_float32 else "stage_1_and_2"


def _buckets(sizes: Sizes, bytes_of_value: int, device: Device, count: int) -> tuple[int, int, int]:
    """Bytes of the buckets, of the copy that is sent of one, and of gradients too large for one.

    A GPU holds ``count`` buckets in full; of a CPU's only what is written to takes memory. The head's and the
    embedding's gradient have no room in a bucket if they are larger.
    """
    full = BUCKET * bytes_of_value * count if device.kind == "cuda" else 0
    bucket = full or min(sizes.trainable, BUCKET) * bytes_of_value
    is_oversized = sizes.largest_trained > BUCKET
    copy = min(sizes.trainable, max(BUCKET, sizes.largest_trained)) * bytes_of_value
    return bucket, copy, sizes.largest_trained * bytes_of_value * is_oversized


def _of_stage_1_and_2(sizes: Sizes, spec: StageSpec, ranks: int, device: Device) -> _Gradients:
    """Gradients go through buckets (two on a GPU, where sending overlaps), of which a copy is sent.

    A rank's share S of them stays: in bfloat16 as one float32 sum (``_build_compact_grad_partition_buffer``), else as
    what was copied out of the bucket (``grads_in_partition``), from the first forward pass of a step on; before the
    update it is laid flat once more. ZeRO 1 adds up all Q where they arise until the last pass. A single rank in
    float32 sends a view and no copy.
    """
    size, share = device.value_bytes, ceil(sizes.trainable / ranks)
    is_compact, has_passes = device.is_bfloat16, spec.accumulation(ranks) > 1
    sums = sizes.trainable * FLOAT32 if spec.zero_stage == 1 and (is_compact or has_passes) else 0
    sent_bytes = FLOAT32 if spec.zero_stage == 1 else size
    bucket, copy, oversized = _buckets(sizes, sent_bytes, device, count=2)
    if ranks == 1 and not is_compact:
        copy = 0
    on_device = spec.offload == "none" or is_compact
    parts = share * FLOAT32 if on_device else 0
    # ZeRO 2's first pass leaves its share, the next one makes its own before they are added.
    held = sums or (parts if has_passes else 0)
    first = parts if is_compact or (held and spec.zero_stage == 2) else 0
    flowing = held + (bucket + copy + oversized if device.kind == "cuda" else 0)
    # On a CPU gradients move from where they arose into the bucket, which is not larger.
    moved = 0 if device.kind == "cpu" and spec.zero_stage == 1 and not is_compact else sums
    at_end = copy if is_compact else max(copy, parts)
    reduced = moved + first + bucket + at_end + 2 * oversized
    if spec.offload != "none":
        return _Gradients(
            held, flowing + sizes.largest_trained * size, reduced + sizes.largest_trained * size, parts
        )
    flat = 0 if is_compact else _at_a_time(sizes, spec, ranks) * FLOAT32
    return _Gradients(held, flowing, reduced, parts, flat)


def _of_bf16_optimizer(sizes: Sizes, spec: StageSpec, ranks: int, device: Device) -> _Gradients:
    """Float32 sums of all Q gradients, and the gradients themselves, which are set to zero and kept: (4 + b)Q.

    They are summed over the ranks by groups, of which those below half a billion values are copied side by side with
    the next one (``allreduce_no_retain``).
    """
    held = sizes.trainable * (FLOAT32 + device.value_bytes)
    copy = max(sizes.groups) * FLOAT32 if len(sizes.groups) > 1 else 0
    return _Gradients(held, held, held + copy, held)


def _of_stage3(sizes: Sizes, spec: StageSpec, ranks: int, device: Device) -> _Gradients:
    """One bucket for good, a copy of it by ranks (``reduce_scatter_coalesced``), and the share S in float32.

    Each group's share is laid flat before its update. With offloading the share is on the host.
    """
    bucket, copy, oversized = _buckets(sizes, device.value_bytes, device, count=1)
    share = 0 if spec.offload != "none" else ceil(sizes.trainable / ranks) * FLOAT32
    held = share + bucket
    flat = 0 if spec.offload != "none" else _at_a_time(sizes, spec, ranks) * FLOAT32
    flowing = held + (copy + oversized if device.kind == "cuda" else 0)
    exact = ceil(copy / ranks) * 2 if device.is_bfloat16 else 0
    return _Gradients(held, flowing, held + copy + exact + 2 * oversized, held, flat)


_GRADIENTS: dict[str, Callable[[Sizes, StageSpec, int, Device], _Gradients]] = {
    "stage_1_and_2": _of_stage_1_and_2,
    "bf16_optimizer": _of_bf16_optimizer,
    "stage3": _of_stage3,
}
