"""``accepted_utterances``: what passed contract and thresholds; everything else stands in the ledger."""

from collections.abc import Sequence

import dagster as dg

from assets.audio.plots import reasons_table
from assets.corpora.acceptance import accept
from assets.per_corpus import run_step, totals
from assets.workspace import ONE_RUN, Workspace, git_commit
from validation.budget import Overrun, overruns
from validation.ledger import Balance, balance
from validation.ledger_history import RunOfLedger, record_ledger

LEDGER_CHECK = "ledger_balances"
BUDGET_CHECK = "within_budget"


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


def check_budget(found: Sequence[Overrun]) -> dg.AssetCheckResult:
    """Passes when no corpus has lost more of its rows than its budget allows."""
    lines = ["| corpus | what | rows | share | budget | the rows |", "|---|---|--:|--:|--:|---|"]
    lines += [
        f"| {one.corpus} | {one.what} | {one.rows} | {one.rows / one.read:.2%} | {one.limit:.2%} | `{one.statement}` |"
        for one in found
    ]
    return dg.AssetCheckResult(
        passed=not found,
        check_name=BUDGET_CHECK,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(one.told for one in found) or "no corpus has lost more than its budget",
        metadata={"overruns": dg.MetadataValue.md("\n".join(lines))},
    )


def build(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset, partitioned by corpus, with its blocking checks."""

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
            ),
            dg.AssetCheckSpec(
                BUDGET_CHECK,
                asset="accepted_utterances",
                blocking=True,
                description="No corpus has lost more of its rows than its budget in the corpora file allows.",
            ),
        ],
        description="Utterances that pass contract and thresholds; every other row is in the ledger with its reason.",
    )
    def accepted_utterances(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
        lake = workspace.lake
        commit = git_commit()

        def show(corpus: str) -> dict[str, dg.MetadataValue]:
            return {"reasons": dg.MetadataValue.md(reasons_table(lake, [corpus]))}

        outcomes = run_step(context, lambda corpus: accept(workspace.corpus(corpus), lake), show)
        changed = {
            corpus: record_ledger(lake, corpus, RunOfLedger.now(outcome.inputs, commit, context.run.run_id))
            for corpus, outcome in outcomes.items()
        }
        found = [
            one for corpus in outcomes for one in overruns(lake, corpus, workspace.corpus(corpus).budget)
        ]
        for one in found:
            context.log.error(one.told)
        return dg.MaterializeResult(
            metadata={
                **totals(outcomes),
                "ended_otherwise_than_before": sum(changed.values()),
                "reasons": dg.MetadataValue.md(reasons_table(lake, list(outcomes))),
            },
            check_results=[check_ledger([balance(lake, corpus) for corpus in outcomes]), check_budget(found)],
        )

    return accepted_utterances
