"""``accepted_utterances``: what passed contract and thresholds; everything else stands in the ledger."""

from collections.abc import Sequence

import dagster as dg

from assets.audio.plots import reasons_table
from assets.corpora.acceptance import accept
from assets.per_corpus import run_step, totals
from assets.workspace import ONE_RUN, Workspace
from validation.ledger import Balance, balance

LEDGER_CHECK = "ledger_balances"


def check_ledger(balances: Sequence[Balance]) -> dg.AssetCheckResult:
    """Passes when every row that was read has exactly one outcome."""
    lines = [
        "| corpus | read | accepted | rejected | quarantined | errored | twice |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {one.corpus} | {one.read} | {one.accepted} | {one.rejected} | {one.quarantined} | {one.errored} "
        f"| {one.duplicates} |"
        for one in balances
    ]
    return dg.AssetCheckResult(
        passed=all(one.holds for one in balances),
        check_name=LEDGER_CHECK,
        severity=dg.AssetCheckSeverity.ERROR,
        description="read = accepted + rejected + quarantined + errored",
        metadata={"balance": dg.MetadataValue.md("\n".join(lines))},
    )


def build(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset, partitioned by corpus, with its blocking check."""

    @dg.asset(
        partitions_def=partitions,
        deps=["raw_utterances", "audio_22k", "audio_quality"],
        backfill_policy=ONE_RUN,
        group_name="data",
        kinds={"parquet", "pandera"},
        check_specs=[
            dg.AssetCheckSpec(
                LEDGER_CHECK,
                asset="accepted_utterances",
                blocking=True,
                description="Every row that was read was accepted, rejected, quarantined or errored, once.",
            )
        ],
        description="Utterances that pass contract and thresholds; every other row is in the ledger with its reason.",
    )
    def accepted_utterances(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
        lake = workspace.lake

        def show(corpus: str) -> dict[str, dg.MetadataValue]:
            return {"reasons": dg.MetadataValue.md(reasons_table(lake, [corpus]))}

        outcomes = run_step(context, lambda corpus: accept(workspace.corpus(corpus), lake), show)
        return dg.MaterializeResult(
            metadata={
                **totals(outcomes),
                "reasons": dg.MetadataValue.md(reasons_table(lake, list(outcomes))),
            },
            check_results=[check_ledger([balance(lake, corpus) for corpus in outcomes])],
        )

    return accepted_utterances
