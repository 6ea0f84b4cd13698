"""``audio_quality``: signal measures of every recording, with histograms."""

import os

import dagster as dg

from assets.audio.plots import histograms_markdown, quality_cells
from assets.audio.quality import measure_corpus
from assets.per_corpus import run_step, totals
from assets.workspace import ONE_RUN, Workspace
from validation.digests import digest_value
from validation.lake import Lake
from validation.schemas import TableName
from validation.steps import table_digest

_TABLE: TableName = "audio_quality"
_DRAWING = 3  # raised when the same measures are drawn otherwise


def build(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset, partitioned by corpus."""

    @dg.asset(
        partitions_def=partitions,
        deps=["audio_22k"],
        backfill_policy=ONE_RUN,
        group_name="data",
        kinds={"parquet", "polars"},
        description="Measures of each utterance: level, noise, clipping, drop-outs, band, channels, speaking rate.",
    )
    def audio_quality(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
        lake = workspace.lake

        def show(corpus: str) -> dict[str, dg.MetadataValue]:
            return {"histograms": dg.MetadataValue.md(histograms(lake, corpus, [corpus]))}

        workers = len(os.sched_getaffinity(0))
        outcomes = run_step(
            context, lambda corpus: measure_corpus(workspace.corpus(corpus), lake, workers), show
        )
        # A table may still hold corpora that the file no longer names, and lack some that were not measured yet.
        measured = [name for name in workspace.corpus_names if lake.has_table(_TABLE, name)]
        plot = histograms(lake, "all corpora", measured)
        return dg.MaterializeResult(metadata={**totals(outcomes), "histograms": dg.MetadataValue.md(plot)})

    return audio_quality


def histograms(lake: Lake, title: str, corpora: list[str]) -> str:
    """Markdown with the histograms of all ``corpora``; drawn only when one of their tables has changed."""
    digest = digest_value([_DRAWING, title, [table_digest(lake, _TABLE, corpus) for corpus in corpora]])
    path = f"drawings/{_TABLE}/{title.replace(' ', '-')}.json"
    kept = lake.read_json(path)
    if kept is not None and kept["inputs"] == digest:
        return str(kept["markdown"])
    markdown = histograms_markdown(quality_cells(lake, corpora), title) if corpora else f"{title}: no audio"
    lake.write_json(path, {"inputs": digest, "markdown": markdown})
    return markdown
