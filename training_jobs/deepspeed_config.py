"""The DeepSpeed configuration that follows from a stage's spec: derived here, written nowhere else."""

from __future__ import annotations

from typing import Any

from training_jobs.spec import StageSpec


def deepspeed_config(spec: StageSpec, world_size: int, is_bfloat16: bool) -> dict[str, Any]:
    """DeepSpeed's JSON for ``world_size`` ranks."""
    return {
        "train_micro_batch_size_per_gpu": spec.micro_batch,
        "gradient_accumulation_steps": spec.gradient_accumulation,
        "train_batch_size": spec.micro_batch * spec.gradient_accumulation * world_size,
        "gradient_clipping": spec.clip,
        "bf16": {"enabled": is_bfloat16},
        "zero_optimization": {
            "stage": spec.zero_stage,
            # Overlap needs streams, which only a GPU has.
            "overlap_comm": is_bfloat16,
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
