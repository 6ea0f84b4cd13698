"""Time and disk of the stages, before they run: time from a speed that was measured, never from a guess."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training_jobs.activation_memory import FLOAT32, Device, Sizes
from training_jobs.checkpoints import milestone_steps
from training_jobs.jobs import CPU, MeasuredStage
from training_jobs.memory_model import checkpoint_bytes
from training_jobs.spec import Stage, StageSpec


@dataclass(frozen=True)
class Speed:
    """Tokens per second of a stage on all of its ranks, and where the figure comes from."""

    tokens_per_second: float
    origin: str


def speed_of(
    stage: Stage,
    ranks: int,
    per_token: dict[Stage, float],
    measured: Sequence[MeasuredStage],
    stated: float | None,
    device: str,
) -> Speed | None:
    """How fast a stage will be; ``None`` where nothing was measured.

    Args:
        stage: that is asked for, on ``ranks`` ranks.
        per_token: arithmetic per token of each stage (:func:`flop_per_token`).
        measured: of the home's own stages; what was on a CPU says nothing of a GPU, nor the other way round.
        stated: by the user, for the first stage of ``per_token`` on these ranks; ``measured`` counts no more.
        device: ``CPU``, or the GPU's name.
    """
    first = next(iter(per_token))
    if stated is not None:
        if stage == first:
            return Speed(stated, "as stated")
        return Speed(
            stated * per_token[first] / per_token[stage], f"as stated of {first}, by arithmetic per token"
        )
    known = [one for one in measured if one.stage in per_token and is_of_kind(one.device, device)]
    if not known:
        return None
    one = next((one for one in known if one.stage == stage), known[-1])
    speed = one.tokens_per_second * ranks / one.ranks * per_token[one.stage] / per_token[stage]
    origin = (
        f"{one.stage} of this home, {one.tokens_per_second:,.0f} tokens/s on {one.ranks} ranks ({one.device})"
    )
    scaled = [
        *(["by arithmetic per token"] if one.stage != stage else []),
        *(["as if each rank were as fast"] if one.ranks != ranks else []),
        *([f"as if {device} were as fast"] if one.device != device else []),
    ]
    return Speed(speed, ", ".join([origin, *scaled]))


def is_of_kind(measured_on: str, device: str) -> bool:
    """Whether both are CPUs or both are GPUs; what was not recorded is neither."""
    return measured_on != "" and (measured_on == CPU) == (device == CPU)


def flop_per_token(sizes: Sizes, spec: StageSpec) -> float:
    """Operations of a token that every implementation has to do, attention and norms left out.

    Two per weight in the forward pass, two for its inputs' gradients, two for its own where it trains, and two more for
    a forward pass made again under gradient checkpointing; of a frozen backbone the forward pass alone. The head once
    for each level, as if every token were labelled. The embedding is looked up.
    """
    head = sizes.vocabulary * sizes.hidden
    modules = sizes.modules * sizes.per_module
    backbone = sizes.parameters - modules - head * (1 if sizes.is_tied else 2)
    again = 2 * spec.gradient_checkpointing
    per_weight = 6 + again
    body = backbone * (per_weight if sizes.trains_backbone else 2) + modules * per_weight
    return float(body + sizes.levels * head * (6 if sizes.trains_head else 4))


@dataclass(frozen=True)
class StageDisk:
    """Bytes that a stage writes: one checkpoint, the most that lies there at a time, and the model at its end."""

    checkpoint: int
    checkpoints: int
    kept: int
    model: int


def stage_disk(sizes: Sizes, spec: StageSpec, device: Device) -> StageDisk:
    """What a stage writes; ``kept`` is the number of checkpoints, with the one that is being written."""
    one, most = checkpoint_bytes(sizes, device), most_checkpoints(spec)
    return StageDisk(one, one * most, most, sizes.parameters * device.value_bytes)


def most_checkpoints(spec: StageSpec) -> int:
    """Checkpoints that lie there at a time, one that is being written included (``training_jobs.checkpoints``)."""
    milestones = milestone_steps(spec.steps) if spec.keep_milestones else frozenset()
    saves = {round(spec.steps * (number + 1) / spec.checkpoints) for number in range(spec.checkpoints)}
    there: set[int] = set()
    most = 0
    for step in sorted(saves | milestones):
        there.add(step)
        most = max(most, len(there))
        there = set(sorted(there)[-spec.keep_checkpoints :]) | (there & milestones)
    return most


def disk_needed(base_parameters: int, is_made: bool, stages: Sequence[StageDisk]) -> int:
    """The most bytes that base model, models and checkpoints take together while the stages run one after another.

    A base model that is made is in float32; a published one in bfloat16. A stage's checkpoints go when its model is
    written.
    """
    models, most = base_parameters * (FLOAT32 if is_made else 2), 0
    for stage in stages:
        models += stage.model
        most = max(most, models + stage.checkpoints)
    return most
