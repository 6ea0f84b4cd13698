"""Program ``train``: one stage, under torchrun, with DeepSpeed ZeRO.

Output: ``<output_dir>/model/`` (weights, config, text tokenizer), ``trainable.txt`` (names of the parameters that were
trained), ``history.json`` (every step), ``result.json`` with ``model_digest``. While it runs,
``<output_dir>/checkpoints/``; a stage that was stopped or killed continues from the newest usable one.
"""

from __future__ import annotations

import json
import math
import signal
import time
from typing import Any

from torch import Tensor
from transformers import AutoTokenizer

from models import save_model
from models.quiet import quiet_transformers
from training_jobs.checkpoints import milestone_steps
from training_jobs.distributed import joined, naming_lost_ranks
from training_jobs.divergence import exploded, is_suspicious
from training_jobs.engine import device_name, peak_bytes, whole_weights
from training_jobs.feeding import Feeder, rows_of_steps
from training_jobs.history import HISTORY_FILE, Losses, StepRecord
from training_jobs.jobs import RESULT_FILE, TrainJob, write_result
from training_jobs.log_lines import LOG_FILE, read_lines
from training_jobs.probe import probe_losses
from training_jobs.program import program_main
from training_jobs.reporting import Reporter, rank
from training_jobs.stage import TRAINABLE_FILE, Stage, prepare
from training_jobs.step import DivergedError, diverged_at, take_step
from training_jobs.stopping import StopRequest, TerminatedError, grace_warning, stop_on_sigterm
from training_jobs.supervisor import die_with_parent
from training_jobs.tracked_data import drawn_dataset
from training_jobs.tracking import TrackedRun, tracked_run
from training_jobs.training_log import TrainingLog, analyse, first_comparable_step
from training_jobs.watchdog import Watchdog
from validation.atomic import replacing_directory, write_text
from validation.digests import digest_directory

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
        training_jobs.step.DivergedError: if the loss or the gradient is not finite, or has exploded.
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
        stage = prepare(job, world, report, watchdog)
        if world.rank != 0:
            _train_or_say_where_from(stage, stop, None)
            _gather(stage)
            return
        params = job.spec.decisive() | {
            "trainable_parameters": stage.trainable_values,
            "tokens_packed": stage.rows.plan["tokens"],
        }
        key = f"{job.spec.stage}-{stage.fingerprint[:16]}"
        with tracked_run(job.tracking, "voxline/training", job.spec.stage, params, resume_key=key) as tracked:
            # Not a parameter: those of a run are for ever, and another number of ranks may go on with it.
            tracked.tag("world_size", str(world.size))
            tracked.artifact(job.output_dir / TRAINABLE_FILE)
            tracked.dataset(drawn_dataset(job.spec.mixture, job.packs_dir, stage.rows.plan))
            _train_or_say_where_from(stage, stop, tracked)
            result = _finish(stage, tracked, *_gather(stage))
        # Last, when all that could still fail is done; the checkpoints are needed until then.
        write_result(job.output_dir, result)
        stage.checkpoints.remove_all()


def _train_or_say_where_from(stage: Stage, stop: StopRequest, tracked: TrackedRun | None) -> None:
    """Train; a stage that diverges says from where it could go on."""
    try:
        with _feeder(stage) as feeder:
            _train(stage, stop, tracked, feeder)
    except DivergedError as error:
        good = stage.checkpoints.newest_good
        where = "there is no checkpoint yet" if good is None else str(stage.checkpoints_dir / good)
        raise DivergedError(f"{error}; last good checkpoint: {where}") from error


def _feeder(stage: Stage) -> Feeder:
    """This rank's micro batches of the steps that are still to be taken."""
    spec, world, steps = stage.spec, stage.world, range(len(stage.history.steps), stage.spec.steps)
    passes = spec.accumulation(world.size)
    taken = rows_of_steps(stage.rows, steps, world.rank, world.size, spec.micro_batch, passes)
    return Feeder(stage.rows, taken, world.device)


def _train(stage: Stage, stop: StopRequest, tracked: TrackedRun | None, feeder: Feeder) -> None:
    spec, history = stage.spec, stage.history
    saves = {round(spec.steps * (number + 1) / spec.checkpoints) for number in range(spec.checkpoints)}
    if spec.keep_milestones:
        saves |= milestone_steps(spec.steps)
    points, lines = max(1, spec.steps // METRIC_POINTS), max(1, spec.steps // LOG_LINES)
    if history.before is None:
        history.before = _probe(stage, tracked)
    last_line_s, must_save, has_warned = time.monotonic(), False, False
    for step in range(len(history.steps), spec.steps):
        stage.watchdog.phase("stepping", step)
        record, by_task, must_stop = take_step(
            stage.engine, feeder, stage.rows, stage.world, spec, step, stop
        )
        has_interval = history.add(record, by_task, spec.steps)
        done = step + 1
        if tracked is not None and (step % points == 0 or done == spec.steps):
            tracked.metrics(record.metrics(), step)
        if tracked is not None and has_interval:
            tracked.metrics(history.tasks[-1].metrics(history.has_backbone), step)
        if done % lines == 0 or done == spec.steps or time.monotonic() - last_line_s > LOG_EVERY_S:
            last_line_s = time.monotonic()
            stage.report.log(_progress(stage, record, history.steps[-lines:]))
        _check_exploded(stage)
        must_save = must_save or done in saves
        # What may be the first step of an explosion is not what to go on from.
        wait = is_suspicious(history.steps, spec.explosion) and done < spec.steps
        if must_stop or (must_save and not wait):
            stage.watchdog.phase("saving", step)
            is_saved = stage.checkpoints.save(stage.engine, done, history)
            must_save = False
            warning = grace_warning(record.seconds, stage.checkpoints.save_s, stage.job.limits.grace_s)
            if warning is not None and not has_warned:
                has_warned = True
                stage.report.log(f"{spec.stage}: warning: {warning}")
        if must_stop:
            saved = "saved" if is_saved else "not saved"
            stage.report.log(f"{spec.stage}: asked to stop; {saved} after step {done} of {spec.steps}")
            raise TerminatedError
    history.after = _probe(stage, tracked)


def _check_exploded(stage: Stage) -> None:
    explosion = stage.spec.explosion
    what = exploded(stage.history.steps, explosion)
    if what is not None:
        assert explosion is not None
        first = len(stage.history.steps) - explosion.in_a_row
        names = stage.rows.sample_names(stage.rows.rows_of_step(first))
        raise diverged_at(stage.spec, first, what, names)


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


def _gather(stage: Stage) -> tuple[dict[str, Tensor] | None, list[int]]:
    """The whole model's weights, on rank 0 alone, and each rank's most memory; called on all ranks."""
    stage.watchdog.phase("finishing")
    peaks = stage.world.all_values(peak_bytes(stage.world.device))
    return whole_weights(stage.engine), peaks


def _finish(
    stage: Stage, tracked: TrackedRun, weights: dict[str, Tensor] | None, peaks: list[int]
) -> dict[str, Any]:
    """Write the model and the history; the result that is to be written; rank 0."""
    output_dir, history = stage.job.output_dir, stage.history
    with replacing_directory(output_dir / "model") as working:
        save_model(stage.engine.module, working, state_dict=weights)
        AutoTokenizer.from_pretrained(stage.job.start_dir).save_pretrained(working)
    write_text(output_dir / HISTORY_FILE, json.dumps(history.to_json()))
    analysis = _analysis(stage)
    tracked.metrics(analysis.metrics(), stage.spec.steps - 1)
    tracked.tag("verdict", analysis.verdict)
    tracked.text(analysis.markdown(), "training_log.md")
    stage.report.log(f"{stage.spec.stage}: {analysis.verdict}: {analysis.why}")
    return (
        history.figures()
        | analysis.figures()
        | {
            "stage": stage.spec.stage,
            "steps": stage.spec.steps,
            "seconds": round(time.monotonic() - stage.started, 2),
            "resumed_from": stage.resumed_from,
            "trainable_parameters": stage.trainable_values,
            "world_size": stage.world.size,
            "device": device_name(stage.world.device),
            "peak_bytes": peaks,
            "mlflow_run_id": tracked.run_id,
            "model_digest": digest_directory(output_dir / "model"),
            "loss_curve_markdown": history.plot_markdown(stage.spec.stage),
            "task_losses_markdown": history.plot_tasks_markdown(f"{stage.spec.stage}, by task"),
        }
    )


def _analysis(stage: Stage) -> TrainingLog:
    curriculum, log = stage.spec.curriculum, stage.job.output_dir / LOG_FILE
    since = first_comparable_step(
        stage.spec.steps, curriculum.until_share if curriculum is not None else None
    )
    return analyse(stage.history, read_lines(log) if log.is_file() else (), since)


if __name__ == "__main__":
    main()
