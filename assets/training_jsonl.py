"""``training_jsonl``: the rows that VITA-Audio's own loader reads, per corpus and split."""

import dagster as dg

from assets.corpora.training_jsonl import build_jsonl
from assets.per_corpus import run_step, totals
from assets.workspace import ONE_RUN, Workspace


def build(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset, partitioned by corpus."""

    @dg.asset(
        partitions_def=partitions,
        deps=["accepted_utterances", "corpus_report", "leakage"],
        backfill_policy=ONE_RUN,
        group_name="data",
        kinds={"json", "parquet"},
        description="JSONL per corpus and split (`messages` + `audios`) and its side table `training_rows`.",
    )
    def training_jsonl(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
        outcomes = run_step(context, lambda corpus: build_jsonl(workspace.corpus(corpus), workspace.lake))
        return dg.MaterializeResult(metadata=totals(outcomes))

    return training_jsonl
