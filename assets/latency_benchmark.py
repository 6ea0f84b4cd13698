"""``latency_benchmark``: how fast the last checkpoint decodes, in every mode."""

import dagster as dg

from assets.data_digests import rows_digest
from assets.outputs import Outputs, inputs_digest
from assets.programs import Pipes, materialize_by_program
from assets.speech_tokenizer import tokenizer_of
from assets.stages import GPU_POOL
from assets.workspace import ONE_RUN, Workspace
from training_jobs.jobs import BenchmarkJob
from training_jobs.launch import program_command

RECIPE = 1


def build() -> dg.AssetsDefinition:
    """The asset."""

    @dg.asset(
        # After the evaluation, not beside it: two programs on one machine would slow one another's clock.
        deps=["sft", "evaluation_report"],
        backfill_policy=ONE_RUN,
        group_name="evaluation",
        kinds={"pytorch"},
        pool=GPU_POOL,
        description="Time to the first audio chunk, tokens per second and speed-up over Vanilla per decode mode.",
    )
    def latency_benchmark(
        context: dg.AssetExecutionContext, workspace: Workspace, pipes: Pipes
    ) -> dg.MaterializeResult:
        outputs = Outputs(workspace.training_dir)
        tokenizer_dir, tokenizer_digest = tokenizer_of(outputs.present("speech_tokenizer"))
        model = outputs.present("sft")
        spec, settings = workspace.stage("sft"), workspace.profile.benchmark
        rows = rows_digest(workspace.lake, workspace.corpus_names, "test")
        tracking = workspace.tracking(context, tokenizer_digest, rows, "sft")
        metadata = materialize_by_program(
            context,
            pipes,
            outputs,
            inputs_digest(RECIPE, model=model.inputs, rows=rows, settings=settings.model_dump()),
            lambda job, log: program_command("benchmark", job, log, quiet=workspace.quiet_programs),
            lambda directory: BenchmarkJob(
                lake=workspace.lake_root,
                corpora=workspace.corpus_names,
                model_dir=model.path / "model",
                tokenizer_dir=tokenizer_dir,
                ratio=spec.ratio,
                settings=settings,
                output_dir=directory,
                tracking=tracking,
            ),
        )
        return dg.MaterializeResult(metadata=metadata)

    return latency_benchmark
