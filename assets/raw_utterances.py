"""``raw_utterances``: what each corpus says it has."""

import os

import dagster as dg

from assets.corpora.ingest import ingest
from assets.per_corpus import run_step, totals
from assets.workspace import ONE_RUN, Workspace


def build(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset, partitioned by corpus."""

    @dg.asset(
        partitions_def=partitions,
        backfill_policy=ONE_RUN,
        group_name="data",
        kinds={"parquet", "polars"},
        description="One row per utterance as the corpus states it: id, split, speaker, text, source file and digest.",
    )
    def raw_utterances(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
        workers = len(os.sched_getaffinity(0))
        outcomes = run_step(
            context, lambda corpus: ingest(workspace.corpus_to_read(corpus), workspace.lake, workers)
        )
        return dg.MaterializeResult(metadata=totals(outcomes))

    return raw_utterances
