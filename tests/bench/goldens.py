"""Our model beside the reference's outputs, under each implementation of attention that this machine has.

Skips, saying so, where the reference's outputs are not beside the repository.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from figures import show
from safetensors.torch import load_file
from transformers.utils import is_flash_attn_2_available

from models import MctpConfig, MctpForCausalLM, generate
from models.packed_attention import ANYWHERE, FLASH, FLEX, GPU_ONLY, VARLEN

GOLDENS = Path(__file__).parents[2] / "../shared/goldens"
NAMES = ("mtp1", "mtp10")


def main() -> None:
    """The largest difference of any loss, and how many generations are the same token for token."""
    if not GOLDENS.is_dir():
        sys.stdout.write("goldens: skipped, the reference's outputs are not beside the repository\n")
        return
    torch.set_num_threads(1)
    rows = [compare(name, attention) for attention in implementations() for name in NAMES]
    if not torch.cuda.is_available():
        sys.stdout.write(f"no GPU here: {', '.join(GPU_ONLY)} were not run\n")
    note = "largest difference of a loss to the reference's, in float32 (bfloat16 for varlen and flash attention)"
    show("golden outputs", note, rows)


def implementations() -> list[str]:
    """What this machine can run."""
    if not torch.cuda.is_available():
        return list(ANYWHERE)
    return [*ANYWHERE, FLEX, VARLEN, *([FLASH] if is_flash_attn_2_available() else [])]


def compare(name: str, attention: str) -> dict[str, Any]:
    """One reference model under one implementation."""
    golden = json.loads((GOLDENS / f"{name}.json").read_text(encoding="utf-8"))
    device = "cuda" if attention in GPU_ONLY else "cpu"
    dtype = torch.bfloat16 if attention in (VARLEN, FLASH) else torch.float32
    model = MctpForCausalLM._from_config(MctpConfig(**golden["config"]), attn_implementation=attention)
    model.load_state_dict(load_file(GOLDENS / f"{name}.safetensors"))
    model.to(device, dtype)
    cases = golden["generations"]
    same = sum(
        generate(model, case["prompt"], case["mtp_inference_mode"], case["max_new_tokens"]) == case["output"]
        for case in cases
    )
    return {
        "model and attention": f"{name}, {attention}",
        "losses": f"{_difference(model, golden['losses']):.1e}",
        "packed losses": f"{_difference(model, golden['packed_losses']):.1e}",
        "equal generations": f"{same} of {len(cases)}",
    }


def _difference(model: MctpForCausalLM, cases: list[dict[str, Any]]) -> float:
    found = 0.0
    for case in cases:
        model.lm_head.requires_grad_(not case.get("lm_head_frozen", False))
        batch = {
            key: torch.tensor([case[key]], device=model.device)
            for key in ("input_ids", "labels", "position_ids")
            if key in case
        }
        found = max(found, abs(model(**batch).loss.item() - case["loss"]))
    return found


if __name__ == "__main__":
    main()
