"""Program ``train``: one stage, under torchrun, with DeepSpeed ZeRO.

Output: ``<output_dir>/model/`` (weights, config, text tokenizer), ``history.json`` (every step), ``result.json``.
While it runs, ``<output_dir>/checkpoints/``; a stage that was stopped or killed continues from the newest usable one.
"""

from __future__ import annotations

import json
import math
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from models import MctpForCausalLM, extend_model, mctp_parameter_names, save_model
from models.windowed_attention import WINDOWED
from training_jobs.batches import Batch, PackedRows
from training_jobs.checkpoints import Checkpoints
from training_jobs.deepspeed_config import deepspeed_config
from training_jobs.distributed import World, joined
from training_jobs.history import History, Losses, StepRecord
from training_jobs.jobs import RESULT_FILE, TrainJob, write_result
from training_jobs.optimizer import parameter_groups, set_learning_rate
from training_jobs.probe import losses_of, probe_losses
from training_jobs.program import program_main, quiet_transformers
from training_jobs.reporting import Reporter
from training_jobs.spec import StageSpec
from training_jobs.stopping import StopRequest, stop_on_sigterm
from training_jobs.supervisor import die_with_parent
from training_jobs.tracking import TrackedRun, tracked_run
from training_jobs.trainable import check_trainable, expected_trainable, set_trainable
from validation.atomic import replacing_directory
from validation.digests import digest_value
from validation.errors import UserError

HISTORY_FILE = "history.json"
METRIC_POINTS = 100
LOG_LINES = 20
_STOPPED_CODE = 128 + signal.SIGTERM


class DivergedError(UserError):
    """A loss or gradient that is not a number; names the step and the samples."""


def main() -> None:
    """``torchrun --module training_jobs.train JOB.json``."""
    # When torchrun is killed, no worker trains on.
    die_with_parent(signal.SIGKILL)
    quiet_transformers()
    program_main(TrainJob, run)


def run(job: TrainJob, report: Reporter) -> None:
    """Train the stage to its end.

    Raises:
        DivergedError: if the loss or the gradient is not finite.
        training_jobs.trainable.TrainableError: if other parameters than the spec's would be trained.
    """
    with joined(job.spec) as world, stop_on_sigterm() as stop:
        if world.rank == 0:
            (job.output_dir / RESULT_FILE).unlink(missing_ok=True)
        stage = _prepare(job, world, report)
        if world.rank != 0:
            _train(stage, stop, None)
            return
        params = job.spec.model_dump() | {
            "trainable_parameters": stage.trainable_values,
            "world_size": world.size,
            "tokens_packed": stage.rows.plan["tokens"],
        }
        key = f"{job.spec.stage}-{stage.fingerprint[:16]}"
        with tracked_run(job.tracking, "voxline/training", job.spec.stage, params, resume_key=key) as tracked:
            _train(stage, stop, tracked)
            _finish(stage, tracked)


@dataclass
class Stage:
    """A stage that is ready for its next step."""

    job: TrainJob
    world: World
    report: Reporter
    engine: Any
    rows: PackedRows
    checkpoints: Checkpoints
    history: History
    resumed_from: str | None
    trainable_values: int
    fingerprint: str
    started: float

    @property
    def spec(self) -> StageSpec:
        """The stage's hyper-parameters."""
        return self.job.spec


def _prepare(job: TrainJob, world: World, report: Reporter) -> Stage:
    import deepspeed

    started, spec = time.monotonic(), job.spec
    model = extend_model(job.start_dir, spec.mctp_modules, seed=spec.seed, dtype=world.dtype).to(world.device)
    model.config.mtp_loss_weight = spec.mtp_loss_weight
    model.set_attn_implementation(WINDOWED)
    if spec.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    model.train()
    mctp_names = mctp_parameter_names(model)
    expected = expected_trainable((name for name, _ in model.named_parameters()), mctp_names, spec)
    set_trainable(model, expected)
    groups = parameter_groups(model.named_parameters(), set(mctp_names), spec)
    config = deepspeed_config(spec, world.size, world.is_bfloat16)
    engine, *_ = deepspeed.initialize(model=model, model_parameters=groups, config=config)
    trainable_values = check_trainable(engine.module, expected)
    rows = PackedRows(job.packs_dir, spec.seed, world.size, spec.micro_batch, spec.gradient_accumulation)
    fingerprint = digest_value(
        {
            "spec": spec.model_dump(),
            "start": str(job.start_dir),
            "data": rows.plan["data_digest"],
            "packing": [rows.plan["seed"], rows.plan["sequence_length"]],
            "world_size": world.size,
        }
    )
    directory = job.output_dir / "checkpoints"
    checkpoints = Checkpoints(directory, spec.keep_checkpoints, fingerprint, world, report.log)
    resumed = checkpoints.load_newest(engine)
    report.log(
        f"{spec.stage}: {trainable_values:,} of {sum(value.numel() for value in model.parameters()):,} parameters "
        f"train on {rows.plan['tokens']:,} packed tokens, {world.size} ranks, {world.dtype}, ready after "
        f"{time.monotonic() - started:.0f} s"
        + (f"; continues from {resumed.name}" if resumed is not None else "")
    )
    return Stage(
        job=job,
        world=world,
        report=report,
        engine=engine,
        rows=rows,
        checkpoints=checkpoints,
        history=resumed.history if resumed is not None else History(),
        resumed_from=resumed.name if resumed is not None else None,
        trainable_values=trainable_values,
        fingerprint=fingerprint,
        started=started,
    )


def _train(stage: Stage, stop: StopRequest, tracked: TrackedRun | None) -> None:
    spec, history = stage.spec, stage.history
    saves = {round(spec.steps * (number + 1) / spec.checkpoints) for number in range(spec.checkpoints)}
    points, lines = max(1, spec.steps // METRIC_POINTS), max(1, spec.steps // LOG_LINES)
    if history.before is None:
        history.before = _probe(stage, tracked)
    for step in range(len(history.steps), spec.steps):
        record, must_stop = _step(stage, step, stop)
        history.steps.append(record)
        done = step + 1
        if tracked is not None and (step % points == 0 or done == spec.steps):
            tracked.metrics(record.metrics(), step)
        if done % lines == 0 or done == spec.steps:
            stage.report.log(_progress(stage, record, history.steps[-lines:]))
        if done in saves or must_stop:
            stage.checkpoints.save(stage.engine, done, history)
        if must_stop:
            stage.report.log(f"{spec.stage}: asked to stop; saved after step {done} of {spec.steps}")
            raise SystemExit(_STOPPED_CODE)
    history.after = _probe(stage, tracked)


def _probe(stage: Stage, tracked: TrackedRun | None) -> Losses:
    losses, step = probe_losses(stage.engine, stage.rows, stage.world), len(stage.history.steps)
    if step and not math.isfinite(losses.loss):
        raise DivergedError(f"{stage.spec.stage}: loss is {losses.loss} after the last of {step} steps")
    stage.report.log(f"{stage.spec.stage}: loss over the probe's rows after {step} steps: {losses.loss:.3f}")
    if tracked is not None:
        tracked.metrics({"probe_loss": losses.loss}, step)
    return losses


def _step(stage: Stage, step: int, stop: StopRequest) -> tuple[StepRecord, bool]:
    """One optimizer step, and whether any rank was asked to stop: all ranks must stop at the same one."""
    spec, world, engine = stage.spec, stage.world, stage.engine
    started = time.monotonic()
    learning_rate = set_learning_rate(engine.optimizer.param_groups, step, spec)
    sums: list[float] = []
    tokens = 0
    batches = [stage.rows.batch(step, world.rank, micro) for micro in range(spec.gradient_accumulation)]
    measured: list[float] = []
    has_backbone = False
    for micro, batch in enumerate(batches):
        output = engine(
            input_ids=batch.input_ids_BT.to(world.device),
            labels=batch.labels_BT.to(world.device),
            position_ids=batch.position_ids_BT.to(world.device),
        )
        engine.backward(output.loss)
        has_backbone = output.backbone_loss is not None
        losses = losses_of(output).to_list()
        sums = [total + loss for total, loss in zip(sums, losses, strict=True)] if sums else losses
        tokens += batch.tokens
        if micro + 1 == spec.gradient_accumulation:
            shares = [value / spec.gradient_accumulation for value in sums]
            # One message for everything the ranks have to agree on; before the update, which a NaN must not reach.
            *measured, all_tokens, stopping = world.mean([*shares, float(tokens), float(stop.is_set)])
            if not math.isfinite(measured[0]):
                raise DivergedError(_diverged("loss", step, measured[0], stage, batches))
        engine.step()
    grad_norm = float(engine.get_global_grad_norm())
    if not math.isfinite(grad_norm):
        raise DivergedError(_diverged("gradient norm", step, grad_norm, stage, batches))
    record = StepRecord(
        step=step,
        **asdict(Losses.from_list(measured, has_backbone)),
        learning_rate=learning_rate,
        grad_norm=grad_norm,
        tokens=round(all_tokens * world.size),
        seconds=time.monotonic() - started,
    )
    return record, stopping > 0


def _diverged(what: str, step: int, value: float, stage: Stage, batches: list[Batch]) -> str:
    names = stage.rows.sample_names(tuple(row for batch in batches for row in batch.rows))
    return (
        f"{stage.spec.stage}: {what} is {value} at step {step}; rank {stage.world.rank} had the samples "
        f"{', '.join(names)}"
    )


def _progress(stage: Stage, record: StepRecord, recent: list[StepRecord]) -> str:
    seconds = sum(one.seconds for one in recent)
    done, steps = record.step + 1, stage.spec.steps
    return (
        f"{stage.spec.stage} {done}/{steps} loss {record.loss:.3f} lr {record.learning_rate:.1e} "
        f"{sum(one.tokens for one in recent) / seconds:,.0f} tok/s, "
        f"{(steps - done) * seconds / len(recent):.0f} s left"
    )


def _finish(stage: Stage, tracked: TrackedRun) -> None:
    """Write the model, the history and, last, the result; rank 0."""
    output_dir = stage.job.output_dir
    _write_model(stage.engine.module, stage.job.start_dir, output_dir)
    history_json = json.dumps(stage.history.to_json())
    (output_dir / HISTORY_FILE).write_text(history_json, encoding="utf-8")
    stage.checkpoints.remove_all()
    write_result(
        output_dir,
        stage.history.figures()
        | {
            "stage": stage.spec.stage,
            "steps": stage.spec.steps,
            "seconds": round(time.monotonic() - stage.started, 2),
            "resumed_from": stage.resumed_from,
            "trainable_parameters": stage.trainable_values,
            "world_size": stage.world.size,
            "mlflow_run_id": tracked.run_id,
            "loss_curve_markdown": stage.history.plot_markdown(stage.spec.stage),
        },
    )


def _write_model(model: MctpForCausalLM, start_dir: Path, output_dir: Path) -> None:
    with replacing_directory(output_dir / "model") as working:
        save_model(model, working)
        AutoTokenizer.from_pretrained(start_dir).save_pretrained(working)


if __name__ == "__main__":
    main()
