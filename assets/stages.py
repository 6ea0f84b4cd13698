"""The four training stages: each starts from the last one's checkpoint, as a GPU job of its own."""

import dagster as dg

from assets.data_digests import rows_digest
from assets.outputs import Outputs, inputs_digest
from assets.programs import Pipes, materialize_by_program
from assets.speech_tokenizer import tokenizer_of
from assets.stage_packs import pack_pointer
from assets.workspace import ONE_RUN, Workspace
from training_jobs.jobs import TrainJob, read_result
from training_jobs.launch import train_command
from training_jobs.spec import STAGES, Stage

GPU_POOL = "gpu"
LOSS_CHECK = "loss_fell"
RECIPE = 1
_STARTS_FROM: dict[Stage, str] = {
    "text_audio_alignment": "base_model",
    "single_mctp": "text_audio_alignment",
    "multi_mctp": "single_mctp",
    "sft": "multi_mctp",
}
_DESCRIPTIONS: dict[Stage, str] = {
    "text_audio_alignment": "Stage 1: the whole backbone learns to read and write audio tokens.",
    "single_mctp": "Stage 2: one MCTP module learns to predict the next token but one; the backbone is frozen.",
    "multi_mctp": "Stage 3: ten MCTP modules; the backbone is frozen.",
    "sft": "Stage 4: supervised fine-tuning of backbone and modules.",
}


def build(stage: Stage) -> dg.AssetsDefinition:
    """The asset of one stage, with its check that the loss fell."""

    @dg.asset(
        name=stage,
        deps=[_STARTS_FROM[stage], "stage_packs"],
        backfill_policy=ONE_RUN,
        group_name="training",
        kinds={"pytorch", "deepspeed"},
        pool=GPU_POOL,
        check_specs=[dg.AssetCheckSpec(LOSS_CHECK, asset=stage)],
        description=_DESCRIPTIONS[stage],
    )
    def checkpoint(
        context: dg.AssetExecutionContext, workspace: Workspace, pipes: Pipes
    ) -> dg.MaterializeResult:
        spec = workspace.stage(stage)
        assert spec.starts_from == _STARTS_FROM[stage], spec
        outputs = Outputs(workspace.training_dir)
        start = outputs.present(spec.starts_from)
        packs = outputs.present(pack_pointer(stage))
        tokenizer_digest = tokenizer_of(outputs.present("speech_tokenizer"))[1]
        tracking = workspace.tracking(
            context, tokenizer_digest, rows_digest(workspace.lake, workspace.corpus_names, "train"), stage
        )
        inputs = inputs_digest(RECIPE, spec=spec.model_dump(), start=start.inputs, packs=packs.inputs)
        metadata = materialize_by_program(
            context,
            pipes,
            outputs,
            inputs,
            lambda job, log: train_command(job, log, spec.processes, quiet=workspace.quiet_programs),
            lambda directory: TrainJob(
                spec=spec,
                start_dir=start.path / "model",
                packs_dir=packs.path,
                output_dir=directory,
                tracking=tracking,
            ),
        )
        result = read_result(outputs.directory(stage, inputs))
        assert result is not None
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


def build_all() -> list[dg.AssetsDefinition]:
    """The four stages, in order."""
    return [build(stage) for stage in STAGES]
