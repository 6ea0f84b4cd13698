"""A stage's model under DeepSpeed: the engine, what it updates, and its weights whole again.

Where each of these lies depends on the ZeRO stage; nothing else in this package needs to know which one it is.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from training_jobs.deepspeed_config import deepspeed_config
from training_jobs.distributed import World
from training_jobs.jobs import CPU
from training_jobs.spec import StageSpec

# The optimizers' lists of the parameters they update, in the order of their groups: ZeRO 1 and 2; ZeRO 1 in bfloat16
# with gradients in float32; ZeRO 3.
_UPDATED = ("bit16_groups", "bf16_groups", "fp16_groups")


def start_engine(
    model: nn.Module,
    groups: list[dict[str, Any]],
    spec: StageSpec,
    world: World,
    load_config: Mapping[str, Any] | None = None,
) -> Any:
    """DeepSpeed's engine around ``model``; called on all ranks.

    Args:
        model: whole, on every rank.
        groups: the parameters to update.
        spec: of the stage.
        world: this rank.
        load_config: what the configuration must say beside, for the checkpoint that is to be loaded.
    """
    import deepspeed

    config = deepspeed_config(spec, world) | dict(load_config or {})
    engine, *_ = deepspeed.initialize(model=model, model_parameters=groups, config=config)
    return engine


def updated_parameters(engine: Any) -> list[nn.Parameter]:
    """The parameters that the engine's optimizer updates."""
    (groups,) = (getattr(engine.optimizer, name) for name in _UPDATED if hasattr(engine.optimizer, name))
    return [parameter for group in groups for parameter in group]


def values_in(parameter: nn.Parameter) -> int:
    """How many values a parameter has, also where ZeRO 3 keeps a part of them only."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def whole_weights(engine: Any) -> dict[str, Tensor] | None:
    """The model's tensors under their names; called on all ranks, and ``None`` on all but the first.

    ZeRO 3 gathers them layer by layer into the host's memory; below it, every rank has them all.
    """
    if engine.zero_optimization_partition_weights():
        gathered: dict[str, Tensor] | None = engine._zero3_consolidated_16bit_state_dict()
        return gathered
    return dict(engine.module.state_dict()) if engine.global_rank == 0 else None


def device_name(device: torch.device) -> str:
    """Of a GPU what its driver calls it, else ``CPU``."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else CPU


def peak_bytes(device: torch.device) -> int:
    """The most memory that this rank has had: of its GPU, as torch gives it out, or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
