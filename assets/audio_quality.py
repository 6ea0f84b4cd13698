"""``audio_quality``: signal measures of every recording, with histograms."""

import dagster as dg

from assets.audio.plots import quality_histograms
from assets.audio.quality import measure_corpus
from assets.per_corpus import run_step, totals
from assets.workspace import ONE_RUN, Workspace


def build(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset, partitioned by corpus."""

    @dg.asset(
        partitions_def=partitions,
        deps=["audio_22k"],
        backfill_policy=ONE_RUN,
        group_name="data",
        kinds={"parquet", "polars"},
        description="Level, peak, clipping, DC offset, silence, SNR, bandwidth and speaking rate per utterance.",
    )
    def audio_quality(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
        lake = workspace.lake

        def show(corpus: str) -> dict[str, dg.MetadataValue]:
            plot = quality_histograms(lake.read_table("audio_quality", corpus), corpus)
            return {"histograms": dg.MetadataValue.md(plot)}

        outcomes = run_step(context, lambda corpus: measure_corpus(workspace.corpus(corpus), lake), show)
        plot = quality_histograms(lake.read_table("audio_quality"), "all corpora")
        return dg.MaterializeResult(metadata={**totals(outcomes), "histograms": dg.MetadataValue.md(plot)})

    return audio_quality
