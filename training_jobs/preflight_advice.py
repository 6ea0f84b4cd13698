"""What to change in a stage that does not fit: each change is tried on the same model, and named if it helps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from training_jobs.spec import StageSpec

_SHORTEST = 512  # tokens of a row: shorter ones hold no conversation

Reckoned = Callable[[StageSpec, int], tuple[int, bool]]


@dataclass(frozen=True)
class Change:
    """Something to change, and what a rank then needs in bytes.

    ``decides`` where the outcome of the training is another one then.
    """

    said: str
    needed: int
    decides: bool = False


def advice(spec: StageSpec, ranks: int, is_gpu: bool, reckoned: Reckoned) -> list[Change]:
    """The changes with which the stage fits; if none does it alone, the shortest chain of them that does.

    Args:
        spec: of the stage, which does not fit.
        ranks: it was to run on.
        is_gpu: Whether there are GPUs: what is offloaded from a CPU lies in the same memory.
        reckoned: what a rank needs under a spec on a number of ranks, in bytes, and whether that fits.
    """
    found = []
    for said, changed in _single(spec, is_gpu):
        needed, fits = reckoned(changed, ranks)
        if fits:
            found.append(Change(said, needed))
    found += [one for one in (_more_ranks(spec, ranks, is_gpu, reckoned),) if one is not None]
    found += [one for one in (_shorter(spec, ranks, "", reckoned),) if one is not None]
    return found or _chain(spec, ranks, is_gpu, reckoned)


def _single(spec: StageSpec, is_gpu: bool) -> Iterator[tuple[str, StageSpec]]:
    if not spec.gradient_checkpointing:
        yield "gradient_checkpointing: true", _with(spec, gradient_checkpointing=True)
    for stage in range(spec.zero_stage + 1, 4):
        yield f"zero_stage: {stage}", _with(spec, zero_stage=stage)
    if is_gpu and spec.offload == "none":
        yield "offload: optimizer", _with(spec, offload="optimizer")
    if is_gpu and spec.offload != "weights":
        yield "zero_stage: 3 + offload: weights", _with(spec, zero_stage=3, offload="weights")


def _more_ranks(spec: StageSpec, ranks: int, is_gpu: bool, reckoned: Reckoned) -> Change | None:
    """The fewest GPUs beyond ``ranks`` on which it fits; more processes on a CPU only share its memory."""
    if not is_gpu or spec.processes != "auto":
        return None
    for more in spec.world_sizes():
        needed, fits = reckoned(spec, more) if more > ranks else (0, False)
        if fits:
            return Change(f"{more} GPUs", needed)
    return None


def _shorter(spec: StageSpec, ranks: int, before: str, reckoned: Reckoned) -> Change | None:
    """The longest rows on which it fits, halved as often as needed; one row at a time first."""
    if spec.micro_batch > 1:
        needed, fits = reckoned(_with(spec, micro_batch=1), ranks)
        if fits:
            return Change(f"{before}micro_batch: 1", needed, decides=True)
    length = spec.sequence_length // 2
    while length >= _SHORTEST:
        needed, fits = reckoned(_with(spec, sequence_length=length), ranks)
        if fits:
            return Change(f"{before}sequence_length: {length}", needed, decides=True)
        length //= 2
    return None


def _chain(spec: StageSpec, ranks: int, is_gpu: bool, reckoned: Reckoned) -> list[Change]:
    """Changes one upon the other, those that cost least first, until it fits; nothing if it never does."""
    steps: list[tuple[str, dict[str, Any]]] = []
    if not spec.gradient_checkpointing:
        steps.append(("gradient_checkpointing: true", {"gradient_checkpointing": True}))
    if spec.zero_stage < 3:
        steps.append(("zero_stage: 3", {"zero_stage": 3}))
    if is_gpu and spec.offload == "none":
        steps.append(("offload: optimizer", {"offload": "optimizer"}))
    if is_gpu and spec.offload != "weights":
        steps.append(("offload: weights", {"zero_stage": 3, "offload": "weights"}))
    said: list[str] = []
    changed = spec
    for words, values in steps:
        said = [one for one in said if one.split(":")[0] != words.split(":")[0]] + [words]
        changed = _with(changed, **values)
        needed, fits = reckoned(changed, ranks)
        if fits:
            return [Change(" + ".join(said), needed)]
    found = []
    if (more := _more_ranks(changed, ranks, is_gpu, reckoned)) is not None:
        found.append(Change(" + ".join([*said, more.said]), more.needed))
    before = "".join(f"{words} + " for words in said)
    if (shorter := _shorter(changed, ranks, before, reckoned)) is not None:
        found.append(shorter)
    return found


def _with(spec: StageSpec, **changes: Any) -> StageSpec:
    """The spec with other values, checked like one that was read."""
    return StageSpec.model_validate(spec.model_dump() | changes)
