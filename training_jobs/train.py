"""Program ``train``: one stage, under torchrun, with DeepSpeed ZeRO.

Output: ``<output_dir>/model/`` (weights, config, text tokenizer), ``history.json`` (every step), ``result.json`` with
``model_digest``. While it runs, ``<output_dir>/checkpoints/``; a stage that was stopped or killed continues from the
newest usable one.
"""

from __future__ import annotations

import json
import math
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from models import MctpForCausalLM, extend_model, mctp_parameter_names, save_model
from models.quiet import quiet_transformers
from models.windowed_attention import WINDOWED
from training_jobs.batches import PackedRows
from training_jobs.checkpoints import Checkpoints, milestone_steps
from training_jobs.deepspeed_config import deepspeed_config
from training_jobs.distributed import World, joined, naming_lost_ranks
from training_jobs.history import History, Losses, StepRecord
from training_jobs.jobs import RESULT_FILE, TrainJob, write_result
from training_jobs.optimizer import parameter_groups
from training_jobs.probe import probe_losses
from training_jobs.program import program_main
from training_jobs.reporting import Reporter, rank
from training_jobs.spec import StageSpec
from training_jobs.step import DivergedError, take_step
from training_jobs.stopping import StopRequest, TerminatedError, grace_warning, stop_on_sigterm
from training_jobs.supervisor import die_with_parent
from training_jobs.tracking import TrackedRun, tracked_run
from training_jobs.trainable import check_trainable, expected_trainable, set_trainable
from training_jobs.watchdog import Watchdog
from validation.atomic import replacing_directory, write_text
from validation.digests import digest_directory, digest_value

HISTORY_FILE = "history.json"
METRIC_POINTS = 100
LOG_LINES = 20
LOG_EVERY_S = 60.0  # at least, however long a step takes: the supervisor takes silence for a hang


def main() -> None:
    """``torchrun --module training_jobs.train JOB.json``."""
    # When torchrun is killed, no worker trains on.
    die_with_parent(signal.SIGKILL)
    with quiet_transformers():
        program_main(TrainJob, run)


def run(job: TrainJob, report: Reporter) -> None:
    """Train the stage to its end.

    Raises:
        training_jobs.step.DivergedError: if the loss or the gradient is not finite.
        training_jobs.trainable.TrainableError: if other parameters than the spec's would be trained.
        training_jobs.elastic.RanksChangedError: if the last checkpoint is of ranks that these cannot go on from.
        training_jobs.checkpoints.CheckpointSaveError: if two checkpoints in a row could not be written.
        training_jobs.distributed.LostRankError: if another rank has ended.
    """
    with (
        stop_on_sigterm() as stop,
        # After the handler of SIGTERM, before which it writes the stack; before the ranks meet, which may hang, too.
        Watchdog(job.output_dir, rank(), job.limits.collective_s) as watchdog,
        joined(job.spec, job.limits.collective_s) as world,
        naming_lost_ranks(lambda: watchdog.at),
    ):
        if world.rank == 0:
            (job.output_dir / RESULT_FILE).unlink(missing_ok=True)
        stage = _prepare(job, world, report, watchdog)
        if world.rank != 0:
            _train(stage, stop, None)
            return
        params = job.spec.decisive() | {
            "trainable_parameters": stage.trainable_values,
            "tokens_packed": stage.rows.plan["tokens"],
        }
        key = f"{job.spec.stage}-{stage.fingerprint[:16]}"
        with tracked_run(job.tracking, "voxline/training", job.spec.stage, params, resume_key=key) as tracked:
            # Not a parameter: those of a run are for ever, and another number of ranks may go on with it.
            tracked.tag("world_size", str(world.size))
            _train(stage, stop, tracked)
            watchdog.phase("finishing")
            result = _finish(stage, tracked.run_id)
        # Last, when all that could still fail is done; the checkpoints are needed until then.
        write_result(job.output_dir, result)
        stage.checkpoints.remove_all()


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
    history: History
    resumed_from: str | None
    trainable_values: int
    fingerprint: str
    started: float

    @property
    def spec(self) -> StageSpec:
        """The stage's hyper-parameters."""
        return self.job.spec


def _prepare(job: TrainJob, world: World, report: Reporter, watchdog: Watchdog) -> Stage:
    import deepspeed

    started, spec = time.monotonic(), job.spec
    model = extend_model(job.start_dir, spec.mctp_modules, seed=spec.seed, dtype=world.dtype).to(world.device)
    model.config.mtp_loss_weight = spec.mtp_loss_weight
    model.set_attn_implementation(WINDOWED)
    if spec.gradient_checkpointing:
        model.activation_checkpointing_enable()
    model.train()
    mctp_names = mctp_parameter_names(model)
    expected = expected_trainable((name for name, _ in model.named_parameters()), mctp_names, spec)
    set_trainable(model, expected)
    groups = parameter_groups(model.named_parameters(), set(mctp_names), spec)
    rows = PackedRows(job.packs_dir, spec.seed, world.size, spec.micro_batch, spec.gradient_accumulation)
    fingerprint = digest_value(
        {
            "spec": spec.decisive(),
            "start": job.start_digest,
            "data": rows.plan["data_digest"],
            "packing": [rows.plan["seed"], rows.plan["sequence_length"]],
            "rows_per_step": spec.micro_batch * spec.gradient_accumulation * world.size,
        }
    )
    checkpoints = Checkpoints(
        job.output_dir / "checkpoints",
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
    config = deepspeed_config(spec, world) | (found.load_config if found is not None else {})
    engine, *_ = deepspeed.initialize(model=model, model_parameters=groups, config=config)
    updated = [parameter for group in engine.optimizer.bit16_groups for parameter in group]
    trainable_values = check_trainable(engine.module, updated, expected)
    resumed = checkpoints.load(engine, found) if found is not None else None
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
        watchdog=watchdog,
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
    if spec.keep_milestones:
        saves |= milestone_steps(spec.steps)
    points, lines = max(1, spec.steps // METRIC_POINTS), max(1, spec.steps // LOG_LINES)
    if history.before is None:
        history.before = _probe(stage, tracked)
    last_line_s, has_warned = time.monotonic(), False
    for step in range(len(history.steps), spec.steps):
        stage.watchdog.phase("stepping", step)
        record, must_stop = take_step(stage.engine, stage.rows, stage.world, spec, step, stop)
        history.steps.append(record)
        done = step + 1
        if tracked is not None and (step % points == 0 or done == spec.steps):
            tracked.metrics(record.metrics(), step)
        if done % lines == 0 or done == spec.steps or time.monotonic() - last_line_s > LOG_EVERY_S:
            last_line_s = time.monotonic()
            stage.report.log(_progress(stage, record, history.steps[-lines:]))
        if done in saves or must_stop:
            stage.watchdog.phase("saving", step)
            is_saved = stage.checkpoints.save(stage.engine, done, history)
            warning = grace_warning(record.seconds, stage.checkpoints.save_s, stage.job.limits.grace_s)
            if warning is not None and not has_warned:
                has_warned = True
                stage.report.log(f"{spec.stage}: warning: {warning}")
        if must_stop:
            saved = "saved" if is_saved else "not saved"
            stage.report.log(f"{spec.stage}: asked to stop; {saved} after step {done} of {spec.steps}")
            raise TerminatedError
    history.after = _probe(stage, tracked)


def _probe(stage: Stage, tracked: TrackedRun | None) -> Losses:
    stage.watchdog.phase("probing")
    losses, step = probe_losses(stage.engine, stage.rows, stage.world), len(stage.history.steps)
    if step and not math.isfinite(losses.loss):
        raise DivergedError(f"{stage.spec.stage}: loss is {losses.loss} after the last of {step} steps")
    stage.report.log(f"{stage.spec.stage}: loss over the probe's rows after {step} steps: {losses.loss:.3f}")
    if tracked is not None:
        tracked.metrics({"probe_loss": losses.loss}, step)
    return losses


def _progress(stage: Stage, record: StepRecord, recent: list[StepRecord]) -> str:
    seconds = sum(one.seconds for one in recent)
    done, steps = record.step + 1, stage.spec.steps
    return (
        f"{stage.spec.stage} {done}/{steps} loss {record.loss:.3f} lr {record.learning_rate:.1e} "
        f"{sum(one.tokens for one in recent) / seconds:,.0f} tok/s, "
        f"{(steps - done) * seconds / len(recent):.0f} s left"
    )


def _finish(stage: Stage, run_id: str) -> dict[str, Any]:
    """Write the model and the history; the result that is to be written; rank 0."""
    output_dir, history = stage.job.output_dir, stage.history
    _write_model(stage.engine.module, stage.job.start_dir, output_dir)
    write_text(output_dir / HISTORY_FILE, json.dumps(history.to_json()))
    return history.figures() | {
        "stage": stage.spec.stage,
        "steps": stage.spec.steps,
        "seconds": round(time.monotonic() - stage.started, 2),
        "resumed_from": stage.resumed_from,
        "trainable_parameters": stage.trainable_values,
        "world_size": stage.world.size,
        "mlflow_run_id": run_id,
        "model_digest": digest_directory(output_dir / "model"),
        "loss_curve_markdown": history.plot_markdown(stage.spec.stage),
    }


def _write_model(model: MctpForCausalLM, start_dir: Path, output_dir: Path) -> None:
    with replacing_directory(output_dir / "model") as working:
        save_model(model, working)
        AutoTokenizer.from_pretrained(start_dir).save_pretrained(working)


if __name__ == "__main__":
    main()
