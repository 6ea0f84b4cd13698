"""``audio_22k``: every recording as mono 22,050 Hz PCM16, content-addressed."""

import dagster as dg

from assets.audio.resample import make_audio_22k
from assets.per_corpus import run_step, totals
from assets.workspace import ONE_RUN, Workspace
from validation.remote import at_once
from validation.steps import StepOutcome


def build(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset, partitioned by corpus."""

    @dg.asset(
        partitions_def=partitions,
        deps=["raw_utterances"],
        backfill_policy=ONE_RUN,
        group_name="data",
        kinds={"parquet", "wav"},
        description="Mono 22.05 kHz PCM16 WAV files (the decoder's rate) and their table.",
    )
    def audio_22k(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
        lake = workspace.lake

        def make(corpus: str) -> StepOutcome:
            entry = workspace.corpus(corpus)
            return make_audio_22k(entry, lake, workers=at_once(entry.root, lake.url))

        outcomes = run_step(context, make)
        return dg.MaterializeResult(metadata=totals(outcomes))

    return audio_22k
