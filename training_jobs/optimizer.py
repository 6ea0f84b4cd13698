"""Parameter groups and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch import nn

from training_jobs.spec import StageSpec


def learning_rate_factor(step: int, spec: StageSpec) -> float:
    """Factor of the peak learning rate at a step (0-based): linear warm-up, then a cosine to the final share.

    The last step has the final share; the first warm-up step is already above zero.
    """
    warmup = math.ceil(spec.steps * spec.warmup_share)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, spec.steps - 1 - warmup)
    share = spec.final_learning_rate_share
    return share + (1 - share) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], mctp_names: set[str], spec: StageSpec
) -> list[dict[str, Any]]:
    """Optimizer groups of the trainable parameters.

    The MCTP modules have their own learning rate; vectors (norms, biases) have no weight decay.
    """
    members: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in named:
        if parameter.requires_grad:
            members.setdefault((name in mctp_names, parameter.ndim >= 2), []).append(parameter)
    groups = []
    for (is_mctp, is_decayed), parameters in sorted(members.items()):
        factor = spec.mctp_learning_rate_factor if is_mctp else 1.0
        groups.append(
            {
                "name": f"{'mctp' if is_mctp else 'backbone'}_{'matrices' if is_decayed else 'vectors'}",
                "params": parameters,
                "lr": spec.learning_rate * factor,
                "peak_lr": spec.learning_rate * factor,
                "weight_decay": spec.weight_decay if is_decayed else 0.0,
            }
        )
    return groups


def set_learning_rate(groups: list[dict[str, Any]], step: int, spec: StageSpec) -> float:
    """Set every group's learning rate for ``step``; returns the one of the spec's ``learning_rate``."""
    factor = learning_rate_factor(step, spec)
    for group in groups:
        group["lr"] = group["peak_lr"] * factor
    return spec.learning_rate * factor
