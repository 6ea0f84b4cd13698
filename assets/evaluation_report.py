"""``evaluation_report``: the last checkpoint on the held-out rows, per task, language and speaker group."""

import dagster as dg

from assets.data_digests import rows_digest
from assets.outputs import Outputs, inputs_digest
from assets.programs import Pipes, materialize_by_program
from assets.speech_tokenizer import tokenizer_of
from assets.stages import GPU_POOL
from assets.workspace import ONE_RUN, Workspace
from training_jobs.jobs import EvaluateJob
from training_jobs.launch import program_command

RECIPE = 1


def build() -> dg.AssetsDefinition:
    """The asset."""

    @dg.asset(
        deps=["sft", "audio_tokens", "training_jsonl"],
        backfill_policy=ONE_RUN,
        group_name="evaluation",
        kinds={"pytorch", "parquet"},
        pool=GPU_POOL,
        description="ASR word error rate, spoken QA exact match and TTS round trip on held-out rows, "
        "for Vanilla and Boost decoding.",
    )
    def evaluation_report(
        context: dg.AssetExecutionContext, workspace: Workspace, pipes: Pipes
    ) -> dg.MaterializeResult:
        outputs = Outputs(workspace.training_dir)
        tokenizer_dir, tokenizer_digest = tokenizer_of(outputs.present("speech_tokenizer"))
        model = outputs.present("sft")
        spec, settings = workspace.stage("sft"), workspace.profile.evaluation
        rows = rows_digest(workspace.lake, workspace.corpus_names, "test")
        tracking = workspace.tracking(context, tokenizer_digest, rows, "sft")
        metadata = materialize_by_program(
            context,
            pipes,
            outputs,
            inputs_digest(
                RECIPE,
                model=model.inputs,
                rows=rows,
                tokenizer=tokenizer_digest,
                settings=settings.model_dump(),
                ratio=list(spec.ratio),
            ),
            lambda job, log: program_command("evaluate", job, log, quiet=workspace.quiet_programs),
            lambda directory: EvaluateJob(
                lake=workspace.lake_root,
                corpora=workspace.corpus_names,
                model_dir=model.path / "model",
                tokenizer_dir=tokenizer_dir,
                ratio=spec.ratio,
                settings=settings,
                seed=spec.seed,
                output_dir=directory,
                tracking=tracking,
            ),
        )
        return dg.MaterializeResult(metadata=metadata)

    return evaluation_report
