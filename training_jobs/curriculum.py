"""The weight of each MCTP module's loss at a step: from the nearest token ahead to the farthest."""

from __future__ import annotations

from training_jobs.spec import StageSpec


def module_weights(spec: StageSpec, step: int) -> tuple[float, ...] | None:
    """Factors of the modules' losses at a step (0-based); ``None`` where the spec has no curriculum.

    The nearest module counts from the first step on. The others come in one after another, each over an equal share
    of the steps, until ``until_share`` of them. The factors add up to the number of modules, so that the loss is a
    weighted mean of the modules' losses at every step, as it is without a curriculum.
    """
    if spec.curriculum is None:
        return None
    last = spec.mctp_modules - 1
    come_in = last * min(1.0, step / (spec.steps * spec.curriculum.until_share))
    ramps = [min(1.0, max(0.0, come_in - (module - 1))) for module in range(spec.mctp_modules)]
    scale = spec.mctp_modules / sum(ramps)
    return tuple(ramp * scale for ramp in ramps)
