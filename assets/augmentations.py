"""``augmentations``: what is drawn for the variants of training rows; their audio is made where tokens are."""

import dagster as dg

from assets.per_corpus import run_step, totals
from assets.workspace import ONE_RUN, Workspace
from validation.augmentation.table import augment


def build(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset, partitioned by corpus."""

    @dg.asset(
        partitions_def=partitions,
        deps=["training_jsonl"],
        backfill_policy=ONE_RUN,
        group_name="data",
        kinds={"parquet", "duckdb"},
        description="Variants of the training split's rows: what each is to go through, drawn by a seed of its own.",
    )
    def augmentations(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
        outcomes = run_step(
            context, lambda corpus: augment(corpus, workspace.corpora.recipe(corpus), workspace.lake)
        )
        return dg.MaterializeResult(metadata=totals(outcomes))

    return augmentations
