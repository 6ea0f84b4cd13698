"""One optimizer step of a stage: forward and backward over its micro batches, and the update."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from training_jobs.batches import Batch, PackedRows
from training_jobs.curriculum import module_weights
from training_jobs.distributed import World
from training_jobs.feeding import Feeder
from training_jobs.history import StepRecord, TaskLosses
from training_jobs.loss_means import LossSums, losses_of
from training_jobs.optimizer import set_learning_rate
from training_jobs.spec import StageSpec
from training_jobs.stopping import StopRequest
from training_jobs.task_losses import TaskSums
from validation.errors import UserError

_NAMED = 20  # samples that a message names


class DivergedError(UserError):
    """A loss or gradient that is not a number, or has exploded; names the step and the samples."""


def forward(engine: Any, batch: Batch, world: World, module_weights: tuple[float, ...] | None = None) -> Any:
    """The model's output for a batch; ``module_weights`` are factors of the modules' losses."""
    weighted = {"module_weights": module_weights} if module_weights is not None else {}
    return engine(
        input_ids=batch.input_ids_BT.to(world.device, non_blocking=True),
        labels=batch.labels_BT.to(world.device, non_blocking=True),
        position_ids=batch.position_ids_BT.to(world.device, non_blocking=True),
        **weighted,
    )


def take_step(
    engine: Any, feeder: Feeder, rows: PackedRows, world: World, spec: StageSpec, step: int, stop: StopRequest
) -> tuple[StepRecord, TaskLosses, bool]:
    """Step number ``step``, and whether any rank was asked to stop: all ranks must stop at the same one.

    Args:
        feeder: Gives this step's micro batches next.

    Raises:
        DivergedError: on every rank, before the update, if the loss or the gradient is not finite on any.
    """
    started = time.monotonic()
    learning_rate = set_learning_rate(engine.optimizer.param_groups, step, spec)
    waited_before_s = feeder.waited_s
    batches = feeder.next()
    waited_s = feeder.waited_s - waited_before_s
    weights = module_weights(spec, step)
    sums, by_task, diverged = LossSums(), TaskSums(rows.tasks), []
    for batch in batches[:-1]:
        diverged += _pass(engine, batch, world, sums, by_task, weights)
        engine.step()
    diverged += _pass(engine, batches[-1], world, sums, by_task, weights)
    # One message for everything that the ranks have to agree on.
    tokens = sum(batch.tokens for batch in batches)
    own, of_tasks = sums.to_list(), by_task.to_list()
    *measured, waited_s, all_tokens, failing, stopping = world.mean(
        [*own, *of_tasks, waited_s, float(tokens), float(len(diverged)), float(stop.is_set)]
    )
    if failing:
        raise diverged_at(spec, step, "loss is not finite", _names(rows, diverged, world))
    engine.step()
    grad_norm = float(engine.get_global_grad_norm())
    if not math.isfinite(grad_norm):
        # DeepSpeed has seen it first, and has left the update out.
        raise diverged_at(spec, step, "gradient is not finite", _names(rows, batches, world))
    record = StepRecord(
        step=step,
        **asdict(sums.means(measured[: len(own)])),
        learning_rate=learning_rate,
        grad_norm=grad_norm,
        tokens=round(all_tokens * world.size),
        seconds=time.monotonic() - started,
        waited_s=waited_s,
    )
    return record, by_task.over_ranks(measured[len(own) :], world.size, step), stopping > 0


def _pass(
    engine: Any,
    batch: Batch,
    world: World,
    sums: LossSums,
    by_task: TaskSums,
    weights: tuple[float, ...] | None,
) -> list[Batch]:
    """Forward and backward; the batch again if its loss is not finite."""
    output = forward(engine, batch, world, weights)
    engine.backward(output.loss)
    losses = losses_of(output)
    sums.add(losses, output.label_losses)
    by_task.add(output.label_losses, output.labelled_BT, batch.task_of_token_BT)
    return [] if all(math.isfinite(value) for value in losses.to_list()) else [batch]


def _names(rows: PackedRows, batches: Sequence[Batch], world: World) -> list[str]:
    """The samples of some batches of every rank; called on all ranks."""
    own = rows.sample_names(tuple(row for batch in batches for row in batch.rows))
    return [name for names in world.all_values(own) for name in names]


def diverged_at(spec: StageSpec, step: int, what: str, names: Sequence[str]) -> DivergedError:
    """The error that says what went wrong at a step, and with which samples."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return DivergedError(
        f"{spec.stage}: {what} at step {step}, in rows with the samples {', '.join(names[:_NAMED])}{more}"
    )
