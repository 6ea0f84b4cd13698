"""``latency_benchmark``: how fast the last checkpoint decodes, in every mode."""

import dagster as dg

from assets.final_model import FINAL_STAGE, FinalModel, final_model
from assets.outputs import inputs_digest
from assets.programs import Pipes, command_of, materialize_by_program
from assets.stages import GPU_POOL
from assets.workspace import ONE_RUN, Workspace
from training_jobs.jobs import BenchmarkJob
from training_jobs.profile import Profile

RECIPE = 2


def build() -> dg.AssetsDefinition:
    """The asset."""

    @dg.asset(
        # After the evaluation, not beside it: two programs on one machine would slow one another's clock.
        deps=[FINAL_STAGE, "evaluation_report"],
        backfill_policy=ONE_RUN,
        group_name="evaluation",
        kinds={"pytorch"},
        pool=GPU_POOL,
        description="Time to the first text, audio chunk and sound, tokens per second and memory per decode mode and "
        "length of prompt, on the trained weights.",
    )
    def latency_benchmark(
        context: dg.AssetExecutionContext, workspace: Workspace, pipes: Pipes
    ) -> dg.MaterializeResult:
        final, profile = final_model(context, workspace), workspace.profile
        metadata = materialize_by_program(
            context,
            pipes,
            final.outputs,
            latency_inputs(final, profile),
            command_of(workspace, "benchmark"),
            lambda directory: BenchmarkJob(
                lake=workspace.lake_root,
                corpora=workspace.corpus_names,
                model_dir=final.model_dir,
                tokenizer_dir=final.tokenizer_dir,
                ratio=final.spec.ratio,
                settings=profile.benchmark,
                decoding=profile.decoding,
                output_dir=directory,
                tracking=final.tracking,
            ),
        )
        return dg.MaterializeResult(metadata=metadata)

    return latency_benchmark


def latency_inputs(final: FinalModel, profile: Profile) -> str:
    """Digest of what latencies are taken from, and how."""
    return inputs_digest(
        RECIPE,
        model=final.output.inputs,
        rows=final.held_out,
        decoding=profile.decoding.model_dump(),
        settings=profile.benchmark.model_dump(),
    )
