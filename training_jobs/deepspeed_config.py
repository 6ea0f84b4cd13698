"""The DeepSpeed configuration that follows from a stage's spec: derived here, written nowhere else."""

from __future__ import annotations

from typing import Any

from training_jobs.distributed import World
from training_jobs.spec import StageSpec


def deepspeed_config(spec: StageSpec, world: World) -> dict[str, Any]:
    """DeepSpeed's JSON for these ranks."""
    return {
        "train_micro_batch_size_per_gpu": spec.micro_batch,
        "gradient_accumulation_steps": spec.accumulation(world.size),
        "train_batch_size": spec.batch_rows,
        "gradient_clipping": spec.clip,
        # An update from gradients that are no numbers is left out; in float32 it always is.
        "bf16": {"enabled": world.is_bfloat16, "check_grad_overflow": True},
        "zero_optimization": {
            "stage": spec.zero_stage,
            # Overlap needs streams, which only a GPU has.
            "overlap_comm": world.device.type == "cuda",
        },
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
        # DeepSpeed's own progress lines are off: ours say more.
        "steps_per_print": 2**31,
        "wall_clock_breakdown": False,
    }
