"""``evaluation_report``: the last checkpoint on the held-out rows, per task, language and speaker group."""

from collections.abc import Iterable

import dagster as dg

from assets.final_model import FINAL_STAGE, FinalModel, final_model
from assets.outputs import inputs_digest
from assets.programs import Pipes, command_of, materialize_by_program
from assets.stages import GPU_POOL
from assets.workspace import ONE_RUN, Workspace
from training_jobs.jobs import EvaluateJob
from training_jobs.listening_models import listening_of
from training_jobs.profile import Profile
from validation.listening.listener import models_digest

RECIPE = 4


def build() -> dg.AssetsDefinition:
    """The asset."""

    @dg.asset(
        deps=[FINAL_STAGE, "audio_tokens", "training_jsonl"],
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
        final, profile = final_model(context, workspace), workspace.profile
        metadata = materialize_by_program(
            context,
            pipes,
            final.outputs,
            evaluation_inputs(final, profile, workspace.corpora.standard_sets),
            command_of(workspace, "evaluate"),
            lambda directory: EvaluateJob(
                lake=workspace.lake_root,
                corpora=workspace.corpus_names,
                standard_sets=list(workspace.corpora.standard_sets),
                model_dir=final.model_dir,
                tokenizer_dir=final.tokenizer_dir,
                ratio=final.spec.ratio,
                settings=profile.evaluation,
                decoding=profile.decoding,
                seed=final.spec.seed,
                output_dir=directory,
                tracking=final.tracking,
            ),
        )
        return dg.MaterializeResult(metadata=metadata)

    return evaluation_report


def evaluation_inputs(final: FinalModel, profile: Profile, standard_sets: Iterable[str]) -> str:
    """Digest of what scores are taken from, and how."""
    models = listening_of(profile.evaluation)
    return inputs_digest(
        RECIPE,
        model=final.output.inputs,
        rows=final.held_out,
        tokenizer=final.tokenizer_digest,
        decoding=profile.decoding.model_dump(),
        settings=profile.evaluation.model_dump(),
        ratio=list(final.spec.ratio),
        standard_sets=list(standard_sets),
        listening=None if models is None else models_digest(models),
    )
