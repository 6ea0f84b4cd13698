"""A training stage made ready for its next step: model, optimizer, rows, and the checkpoint that it goes on from."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import extend_model, mctp_parameter_names
from models.packed_attention import choose
from training_jobs.batches import PackedRows
from training_jobs.checkpoints import Checkpoints, milestone_steps
from training_jobs.distributed import World
from training_jobs.engine import start_engine, updated_parameters, values_in
from training_jobs.history import History
from training_jobs.jobs import TrainJob
from training_jobs.optimizer import parameter_groups
from training_jobs.reporting import Reporter
from training_jobs.spec import StageSpec
from training_jobs.trainable import check_trainable, expected_trainable, set_trainable, trainable_list
from training_jobs.watchdog import Watchdog
from validation.atomic import write_text
from validation.digests import digest_value

TRAINABLE_FILE = "trainable.txt"


@dataclass
class Stage:
    """A stage that is ready for its next step."""

    job: TrainJob
    world: World
    report: Reporter
    watchdog: Watchdog
    engine: Any
    rows: PackedRows
    checkpoints: Checkpoints
    checkpoints_dir: Path
    history: History
    resumed_from: str | None
    trainable_values: int
    fingerprint: str
    started: float

    @property
    def spec(self) -> StageSpec:
        """The stage's hyper-parameters."""
        return self.job.spec


def prepare(job: TrainJob, world: World, report: Reporter, watchdog: Watchdog) -> Stage:
    """Make the stage ready; called on all ranks. ``<output_dir>/trainable.txt`` lists what is trained.

    Raises:
        models.errors.ModelError: if there is no such attention on this device.
        training_jobs.trainable.TrainableError: if other parameters than the spec's would be trained.
        training_jobs.elastic.RanksChangedError: if the last checkpoint is of ranks that these cannot go on from.
    """
    started, spec = time.monotonic(), job.spec
    model = extend_model(job.start_dir, spec.mctp_modules, seed=spec.seed, dtype=world.dtype).to(world.device)
    model.config.mtp_loss_weight = spec.mtp_loss_weight
    model.config.reference_boundaries = spec.reference_boundaries
    model.set_attn_implementation(choose(world.device, world.dtype, spec.attention))
    if spec.gradient_checkpointing:
        model.activation_checkpointing_enable()
    model.train()
    mctp_names = mctp_parameter_names(model)
    expected = expected_trainable((name for name, _ in model.named_parameters()), mctp_names, spec)
    set_trainable(model, expected)
    groups = parameter_groups(model.named_parameters(), set(mctp_names), spec)
    rows = PackedRows(job.packs_dir, spec.seed, spec.batch_rows)
    fingerprint = fingerprint_of(spec, job.start_digest, rows.plan)
    checkpoints_dir = job.output_dir / "checkpoints"
    checkpoints = Checkpoints(
        checkpoints_dir,
        spec.keep_checkpoints,
        fingerprint,
        world,
        report.log,
        zero_stage=spec.zero_stage,
        milestones=milestone_steps(spec.steps) if spec.keep_milestones else (),
    )
    watchdog.phase("resuming")
    found = checkpoints.peek()
    watchdog.phase("starting")
    engine = start_engine(model, groups, spec, world, found.load_config if found is not None else None)
    trainable_values = check_trainable(engine.module, updated_parameters(engine), expected)
    if world.rank == 0:
        write_text(job.output_dir / TRAINABLE_FILE, trainable_list(engine.module, expected))
    resumed = checkpoints.load(engine, found) if found is not None else None
    report.log(
        f"{spec.stage}: {trainable_values:,} of {sum(values_in(one) for one in model.parameters()):,} parameters "
        f"train on {rows.plan['tokens']:,} packed tokens, {world.size} ranks, {world.dtype}, ready after "
        f"{time.monotonic() - started:.0f} s"
        + (f"; continues from {resumed.name}" if resumed is not None else "")
    )
    return Stage(
        job=job,
        world=world,
        report=report,
        watchdog=watchdog,
        engine=engine,
        rows=rows,
        checkpoints=checkpoints,
        checkpoints_dir=checkpoints_dir,
        history=resumed.history if resumed is not None else History(),
        resumed_from=resumed.name if resumed is not None else None,
        trainable_values=trainable_values,
        fingerprint=fingerprint,
        started=started,
    )


def fingerprint_of(spec: StageSpec, start_digest: str, plan: dict[str, Any]) -> str:
    """Digest of what is trained on what: a checkpoint with another one belongs to another training.

    The number of ranks is left out, and so is what else decides nothing of the outcome.
    """
    return digest_value(
        {
            "spec": spec.decisive(),
            "start": start_digest,
            "data": plan["data_digest"],
            "packing": [plan["seed"], plan["sequence_length"]],
        }
    )
