"""A small model trained on two ranks, saved, and gone on with on others: ``python -m elastic_runs FOLDER``.

Each step is over the same rows of data, however many ranks share them. What each step's loss was is printed by rank 0.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from forked_ranks import fork_ranks

from models import MctpConfig, MctpForCausalLM, mctp_parameter_names
from training_jobs.checkpoints import Checkpoints
from training_jobs.distributed import World, joined
from training_jobs.engine import start_engine
from training_jobs.history import History
from training_jobs.optimizer import parameter_groups
from training_jobs.spec import StageSpec, load_stage
from training_jobs.trainable import expected_trainable, set_trainable

ROWS = 4  # of a step, over all ranks
SAVED_AFTER, STEPS = 4, 7
WORDS, TOKENS = 96, 32
# Everything under one stage, the modules alone under the other: frozen weights are in no checkpoint.
SPECS = {
    name: load_stage(name, "tiny").model_copy(
        update={
            "mctp_modules": 2,
            "batch_rows": ROWS,
            "zero_stage": zero_stage,
            "learning_rate": 1e-2,
            "weight_decay": 0.1,
        }
    )
    for name, zero_stage in (("sft", 2), ("single_mctp", 1))
}


def run(role: str, folder: Path, world: World) -> dict[str, list[float]]:
    """By stage, the losses of the steps that this run takes.

    ``save``: all of them, with a checkpoint on the way; ``resume``: those after it; ``twice``: as ``resume``, with a
    checkpoint of its own after a step, from which a second engine takes the rest.
    """
    return {name: _run(role, folder / name, spec, world) for name, spec in SPECS.items()}


def _run(role: str, folder: Path, spec: StageSpec, world: World) -> list[float]:
    checkpoints = Checkpoints(
        folder, 2, "one", world, lambda line: None, zero_stage=spec.zero_stage, milestones=()
    )
    if role == "save":
        engine = _engine(spec, world, {})
        losses = [_step(engine, world, step) for step in range(SAVED_AFTER)]
        assert checkpoints.save(engine, SAVED_AFTER, History())
        return losses + [_step(engine, world, step) for step in range(SAVED_AFTER, STEPS)]
    engine, first = _resumed(checkpoints, spec, world)
    assert first == SAVED_AFTER
    if role == "resume":
        return [_step(engine, world, step) for step in range(first, STEPS)]
    losses = [_step(engine, world, first)]
    assert checkpoints.save(engine, first + 1, History())
    rest = [_step(engine, world, step) for step in range(first + 1, STEPS)]
    again, second = _resumed(checkpoints, spec, world)
    assert second == first + 1
    assert rest == [_step(again, world, step) for step in range(second, STEPS)], "not to the last bit"
    return losses + rest


def _resumed(checkpoints: Checkpoints, spec: StageSpec, world: World) -> tuple[Any, int]:
    found = checkpoints.peek()
    assert found is not None
    engine = _engine(spec, world, found.load_config)
    return engine, checkpoints.load(engine, found).step


def _engine(spec: StageSpec, world: World, load_config: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    model = MctpForCausalLM(
        MctpConfig(
            vocab_size=WORDS,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2 + spec.mctp_modules,
            num_nextn_predict_layers=spec.mctp_modules,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=TOKENS,
        )
    ).train()
    modules = mctp_parameter_names(model)
    set_trainable(model, expected_trainable((name for name, _ in model.named_parameters()), modules, spec))
    groups = parameter_groups(model.named_parameters(), set(modules), spec)
    return start_engine(model, groups, spec, world, load_config)


def _step(engine: Any, world: World, step: int) -> float:
    rows = torch.randint(0, WORDS, (ROWS, TOKENS), generator=torch.Generator().manual_seed(step % 2))
    losses = []
    for row in range(world.rank, ROWS, world.size):
        output = engine(input_ids=rows[None, row], labels=rows[None, row])
        engine.backward(output.loss)
        engine.step()
        losses.append(float(output.loss.detach()))
    return world.mean([sum(losses) / len(losses)])[0]


def main() -> None:
    """Train on two ranks, then go on from their checkpoints on four."""
    folder = Path(sys.argv[1])
    fork_ranks(2, lambda: _as_rank("save", folder / "of_two"))
    on_four = copied(folder / "of_two", folder / "on_four")
    fork_ranks(4, lambda: _as_rank("resume", on_four))


def _as_rank(role: str, folder: Path) -> None:
    with joined(SPECS["sft"], 240.0) as world:
        found = run(role, folder, world)
    # No rank has a use for it, and its import takes seconds.
    assert "torch._inductor.compile_fx" not in sys.modules
    if world.rank == 0:
        sys.stdout.write(json.dumps(found) + "\n")


def copied(folder: Path, target: Path) -> Path:
    """The checkpoints again, for a run that adds its own."""
    shutil.copytree(folder, target)
    return target


if __name__ == "__main__":
    main()
