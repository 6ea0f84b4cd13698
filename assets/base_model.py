"""``base_model``: where stage 1 starts, its vocabulary extended by the audio tokens."""

import dagster as dg

from assets.outputs import Outputs, inputs_digest
from assets.programs import Pipes, materialize_by_program
from assets.workspace import ONE_RUN, Workspace
from training_jobs.jobs import BaseModelJob
from training_jobs.launch import program_command
from training_jobs.profile import BaseModelSettings, base_model_directory

RECIPE = 1


def source_digest(settings: BaseModelSettings) -> str:
    """Digest of the settings, and of the published directory's listing where one is named."""
    if settings.directory is None:
        return inputs_digest(RECIPE, settings=settings.model_dump())
    files = sorted(path for path in base_model_directory(settings).iterdir() if path.is_file())
    listing = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    return inputs_digest(RECIPE, listing=listing)


def build() -> dg.AssetsDefinition:
    """The asset."""

    @dg.asset(
        backfill_policy=ONE_RUN,
        group_name="training",
        kinds={"pytorch", "huggingface"},
        description="Qwen2 weights and text tokenizer, extended by 20 special and the audio tokens.",
    )
    def base_model(
        context: dg.AssetExecutionContext, workspace: Workspace, pipes: Pipes
    ) -> dg.MaterializeResult:
        profile = workspace.profile
        codes, seed = profile.audio_tokenizer.codes, profile.audio_tokenizer.seed
        metadata = materialize_by_program(
            context,
            pipes,
            Outputs(workspace.training_dir),
            inputs_digest(RECIPE, source=source_digest(profile.base_model), codes=codes, seed=seed),
            lambda job, log: program_command("base_model", job, log, quiet=workspace.quiet_programs),
            lambda directory: BaseModelJob(
                settings=profile.base_model, audio_codes=codes, seed=seed, output_dir=directory
            ),
        )
        return dg.MaterializeResult(metadata=metadata)

    return base_model
