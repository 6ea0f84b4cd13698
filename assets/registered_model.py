"""``registered_model``: a version of ``vita-audio-mctp``, promoted when the gate holds."""

import dagster as dg

from assets.data_digests import rows_digest
from assets.outputs import Outputs, inputs_digest
from assets.programs import Pipes, materialize_by_program
from assets.speech_tokenizer import tokenizer_of
from assets.workspace import ONE_RUN, Workspace
from training_jobs.gate import load_thresholds
from training_jobs.jobs import RegisterJob
from training_jobs.launch import program_command

RECIPE = 1


def build() -> dg.AssetsDefinition:
    """The asset."""

    @dg.asset(
        deps=["sft", "evaluation_report", "latency_benchmark"],
        backfill_policy=ONE_RUN,
        group_name="registry",
        kinds={"mlflow"},
        description="A version of vita-audio-mctp in the MLflow registry: alias candidate, then champion "
        "when evaluation and latency hold against the present champion.",
    )
    def registered_model(
        context: dg.AssetExecutionContext, workspace: Workspace, pipes: Pipes
    ) -> dg.MaterializeResult:
        outputs = Outputs(workspace.training_dir)
        tokenizer_dir, tokenizer_digest = tokenizer_of(outputs.present("speech_tokenizer"))
        model, evaluation, latency = (
            outputs.present(asset) for asset in ("sft", "evaluation_report", "latency_benchmark")
        )
        tracking = workspace.tracking(
            context, tokenizer_digest, rows_digest(workspace.lake, workspace.corpus_names, "train"), "sft"
        )
        metadata = materialize_by_program(
            context,
            pipes,
            outputs,
            inputs_digest(
                RECIPE,
                model=model.inputs,
                evaluation=evaluation.inputs,
                latency=latency.inputs,
                tracking_uri=workspace.tracking_uri,
                gate=load_thresholds().model_dump(),
            ),
            lambda job, log: program_command("register", job, log, quiet=workspace.quiet_programs),
            lambda directory: RegisterJob(
                model_dir=model.path / "model",
                tokenizer_dir=tokenizer_dir,
                evaluation_dir=evaluation.path,
                benchmark_dir=latency.path,
                output_dir=directory,
                tracking=tracking,
            ),
        )
        return dg.MaterializeResult(metadata=metadata)

    return registered_model
