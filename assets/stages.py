"""The four training stages: each starts from the last one's checkpoint, as a GPU job of its own."""

import dagster as dg

from assets.data_digests import rows_digest
from assets.outputs import Output, Outputs, inputs_digest
from assets.programs import Pipes, materialize_by_program
from assets.speech_tokenizer import tokenizer_of
from assets.stage_packs import pack_pointer
from assets.workspace import ONE_RUN, Workspace
from training_jobs.imported import is_passed_over
from training_jobs.jobs import TrainJob
from training_jobs.launch import available_ranks, ranks_per_node, train_command
from training_jobs.spec import STAGES, Stage, StageSpec, load_stage
from validation.errors import ConfigurationError

GPU_POOL = "gpu"
LOSS_CHECK = "loss_fell"
RECIPE = 3


def build(stage: Stage) -> dg.AssetsDefinition:
    """The asset of one stage, with its check that the loss fell.

    Raises:
        ConfigurationError: if the stage's file says something that is not allowed.
    """
    # What the graph needs to know is the same in every profile.
    published = load_stage(stage, "7b")

    @dg.asset(
        name=stage,
        deps=[published.starts_from, "stage_packs"],
        backfill_policy=ONE_RUN,
        group_name="training",
        kinds={"pytorch", "deepspeed"},
        pool=GPU_POOL,
        check_specs=[dg.AssetCheckSpec(LOSS_CHECK, asset=stage)],
        description=published.description,
    )
    def checkpoint(
        context: dg.AssetExecutionContext, workspace: Workspace, pipes: Pipes
    ) -> dg.MaterializeResult:
        spec = workspace.stage(stage)
        if spec.starts_from != published.starts_from:
            raise ConfigurationError(
                f"stage {stage} starts from {spec.starts_from} by its file, which has changed since this code location "
                f"was loaded (then: {published.starts_from}): reload it"
            )
        outputs = Outputs(workspace.training_dir)
        if is_passed_over(workspace.profile.base_model, stage):
            return passed_over(outputs, stage)
        start = outputs.present(spec.starts_from)
        packs = outputs.present(pack_pointer(stage))
        tokenizer_digest = tokenizer_of(outputs.present("speech_tokenizer"))[1]
        tracking = workspace.tracking(
            context, tokenizer_digest, rows_digest(workspace.lake, workspace.corpus_names, "train"), stage
        )
        inputs = inputs_digest(RECIPE, spec=spec.decisive(), start=start.inputs, packs=packs.inputs)
        metadata = materialize_by_program(
            context,
            pipes,
            outputs,
            inputs,
            lambda job, log: train_command(
                job, log, _ranks(context, spec), workspace.profile.limits, workspace.quiet_programs
            ),
            lambda directory: TrainJob(
                spec=spec,
                start_dir=start.path / "model",
                start_digest=model_digest_of(start),
                packs_dir=packs.path,
                output_dir=directory,
                tracking=tracking,
                limits=workspace.profile.limits,
            ),
        )
        result = outputs.present(stage).result()
        first, last = float(result["first_loss"]), float(result["last_loss"])
        return dg.MaterializeResult(
            metadata=metadata,
            check_results=[
                dg.AssetCheckResult(
                    passed=last < first,
                    check_name=LOSS_CHECK,
                    # A warning: whether the model is any good is for the registry's gate to say.
                    severity=dg.AssetCheckSeverity.WARN,
                    description=f"first {first:.4f}, last {last:.4f}",
                    metadata={"first_loss": first, "last_loss": last},
                )
            ],
        )

    return checkpoint


def _ranks(context: dg.AssetExecutionContext, spec: StageSpec) -> int:
    """Ranks on each machine; says so where GPUs are left idle."""
    ranks, available = ranks_per_node(spec), available_ranks()
    if spec.processes == "auto" and ranks < available:
        context.log.warning(
            f"{spec.stage} trains on {ranks} of {available} GPUs: batch_rows {spec.batch_rows} can be dealt out evenly "
            f"to {spec.world_sizes()} ranks"
        )
    return ranks


def passed_over(outputs: Outputs, stage: Stage) -> dg.MaterializeResult:
    """A stage before the one at which imported weights start: they are its model, as the base model has them."""
    base = outputs.present("base_model")
    outputs.publish(base.asset, base.inputs, pointer=stage)
    why = f"not trained: the imported weights in {base.path} start at a later stage"
    return dg.MaterializeResult(
        metadata={"passed_over": why, "recomputed": False, "output": dg.MetadataValue.path(base.path)},
        check_results=[dg.AssetCheckResult(passed=True, check_name=LOSS_CHECK, description=why)],
    )


def model_digest_of(output: Output) -> str:
    """Digest of a finished model's files, as the program that wrote them took it."""
    return str(output.result()["model_digest"])


def build_all() -> list[dg.AssetsDefinition]:
    """The four stages, in order."""
    return [build(stage) for stage in STAGES]
