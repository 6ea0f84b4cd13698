"""``speech_tokenizer``: the codebook, trained on the training split."""

from pathlib import Path

import dagster as dg

from assets.data_digests import training_audio_digest
from assets.outputs import Output, Outputs, inputs_digest
from assets.programs import Pipes, command_of, materialize_by_program
from assets.workspace import ONE_RUN, Workspace
from training_jobs.imported import imported_tokenizer
from training_jobs.jobs import FitTokenizerJob

RECIPE = 3  # raised with the features in models.tokenizers.mel_kmeans: a tokenizer of other ones is refused


def tokenizer_of(output: Output) -> tuple[Path, str]:
    """Directory and digest of the present tokenizer."""
    return output.path / "tokenizer", str(output.result()["tokenizer_digest"])


def build() -> dg.AssetsDefinition:
    """The asset."""

    @dg.asset(
        deps=["accepted_utterances"],
        backfill_policy=ONE_RUN,
        group_name="data",
        kinds={"python", "scikitlearn"},
        description="The audio tokenizer (12.5 tokens per second), trained on the training split's log-mel patches; "
        "where the base model was imported with its own, that one.",
    )
    def speech_tokenizer(
        context: dg.AssetExecutionContext, workspace: Workspace, pipes: Pipes
    ) -> dg.MaterializeResult:
        settings = workspace.profile.audio_tokenizer
        given = imported_tokenizer(workspace.profile.base_model)
        # A tokenizer that came with the weights is the same whatever is read.
        made_from = (
            {"audio": training_audio_digest(workspace.lake, workspace.corpus_names)}
            if given is None
            else {"given": given[1]}
        )
        metadata = materialize_by_program(
            context,
            pipes,
            Outputs(workspace.training_dir),
            inputs_digest(RECIPE, settings=settings.model_dump(), **made_from),
            command_of(workspace, "fit_tokenizer"),
            lambda directory: FitTokenizerJob(
                lake=workspace.lake_root,
                corpora=workspace.corpus_names,
                settings=settings,
                given=None if given is None else given[0],
                output_dir=directory,
            ),
        )
        return dg.MaterializeResult(metadata=metadata)

    return speech_tokenizer
