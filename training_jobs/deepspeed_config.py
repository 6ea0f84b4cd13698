"""The DeepSpeed configuration that follows from a stage's spec: derived here, written nowhere else."""

from __future__ import annotations

from typing import Any

from training_jobs.distributed import World
from training_jobs.spec import StageSpec


def deepspeed_config(spec: StageSpec, world: World) -> dict[str, Any]:
    """DeepSpeed's JSON for these ranks.

    Raises:
        ConfigurationError: if the rows of a step cannot be dealt out evenly to them.
    """
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": spec.micro_batch,
        "gradient_accumulation_steps": spec.accumulation(world.size),
        "train_batch_size": spec.batch_rows,
        "gradient_clipping": spec.clip,
        # An update from gradients that are no numbers is left out; in float32 it always is.
        "bf16": {"enabled": world.is_bfloat16, "check_grad_overflow": True},
        "zero_optimization": _zero(spec, world),
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": spec.learning_rate,
                "betas": [spec.adam_beta1, spec.adam_beta2],
                "eps": spec.adam_epsilon,
                "weight_decay": spec.weight_decay,
                # DeepSpeed's own Adam is compiled at its first use; torch's needs no compiler on any machine.
                "torch_adam": True,
            },
        },
        # Nor does offloading insist on the compiled one.
        "zero_force_ds_cpu_optimizer": False,
        # DeepSpeed's own progress lines are off: ours say more.
        "steps_per_print": 2**31,
        "wall_clock_breakdown": False,
    }
    if world.is_bfloat16:
        # The sum over many micro batches of gradients with 8 bits each would lose the small ones.
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    return config


def _zero(spec: StageSpec, world: World) -> dict[str, Any]:
    on_gpu = world.device.type == "cuda"
    zero: dict[str, Any] = {
        "stage": spec.zero_stage,
        # Overlap needs streams, which only a GPU has.
        "overlap_comm": on_gpu,
    }
    # Pinned memory is what a GPU copies from and to while it computes.
    host = {"device": "cpu", "pin_memory": on_gpu}
    if spec.offload != "none":
        zero["offload_optimizer"] = host
    if spec.offload == "weights":
        zero["offload_param"] = host
    return zero
