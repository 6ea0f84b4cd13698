"""``registered_model``: a version of ``vita-audio-mctp``, promoted when the gate holds."""

import dagster as dg

from assets.final_model import FINAL_STAGE, final_model
from assets.outputs import Output, Outputs, inputs_digest
from assets.programs import Pipes, command_of, materialize_by_program
from assets.stages import GPU_POOL
from assets.workspace import ONE_RUN, Workspace
from training_jobs.gate import load_thresholds
from training_jobs.jobs import RESULT_FILE, RegisterJob, Tracking, read_result
from training_jobs.registered import is_registered

RECIPE = 4
_ASSET = "registered_model"


def build() -> dg.AssetsDefinition:
    """The asset."""

    @dg.asset(
        name=_ASSET,
        deps=[FINAL_STAGE, "evaluation_report", "latency_benchmark"],
        backfill_policy=ONE_RUN,
        group_name="registry",
        kinds={"mlflow"},
        # Against a champion both models are run, one beside the other.
        pool=GPU_POOL,
        description="A version of vita-audio-mctp in the MLflow registry: alias candidate, then champion "
        "when it holds side by side with the present champion, on the same rows and the same machine.",
    )
    def registered_model(
        context: dg.AssetExecutionContext, workspace: Workspace, pipes: Pipes
    ) -> dg.MaterializeResult:
        final = final_model(context, workspace)
        evaluation, latency = (
            final.outputs.present(name) for name in ("evaluation_report", "latency_benchmark")
        )
        inputs = registration_inputs(final.output, evaluation, latency, workspace.tracking_uri)
        forget_unless_current(final.outputs, inputs, final.tracking)
        metadata = materialize_by_program(
            context,
            pipes,
            final.outputs,
            inputs,
            command_of(workspace, "register"),
            lambda directory: RegisterJob(
                lake=workspace.lake_root,
                corpora=workspace.corpus_names,
                standard_sets=list(workspace.corpora.standard_sets),
                model_dir=final.model_dir,
                tokenizer_dir=final.tokenizer_dir,
                ratio=final.spec.ratio,
                evaluation=workspace.profile.evaluation,
                benchmark=workspace.profile.benchmark,
                decoding=workspace.profile.decoding,
                seed=final.spec.seed,
                evaluation_dir=evaluation.path,
                benchmark_dir=latency.path,
                output_dir=directory,
                tracking=final.tracking,
            ),
        )
        return dg.MaterializeResult(metadata=metadata)

    return registered_model


def registration_inputs(final: Output, evaluation: Output, latency: Output, tracking_uri: str) -> str:
    """Digest of what a registration and its verdict are made from.

    That is what was measured, and not what it was measured on: a latency that was taken again is another one.

    Raises:
        assets.outputs.MissingOutputError: if what was measured was removed.
    """
    return inputs_digest(
        RECIPE,
        model=final.inputs,
        evaluation=evaluation.result(),
        latency=latency.result(),
        tracking_uri=tracking_uri,
        gate=load_thresholds().model_dump(),
    )


def forget_unless_current(outputs: Outputs, inputs: str, tracking: Tracking) -> None:
    """Have a registration made anew that the registry has lost, or that another one has followed since.

    The output lies in a directory, what it stands for in the registry. And a model that comes back after another one
    was registered is the candidate again.
    """
    directory = outputs.directory(_ASSET, inputs)
    result = read_result(directory)
    if result is None:
        return
    present = outputs.find(_ASSET)
    is_latest = present is not None and present.inputs == inputs
    if not is_latest or not is_registered(tracking, result["version"], result["model_digest"]):
        (directory / RESULT_FILE).unlink()
