"""``corpus_report``: what each corpus is, on one page with players, and whether it has become another one."""

from collections.abc import Mapping, Sequence

import dagster as dg

from assets.audio.plots import code_cell
from assets.per_corpus import run_step, totals
from assets.report.build import (
    INDEX,
    last_comparison,
    read_drawings,
    report_corpus,
    report_path,
    write_index,
)
from assets.report.profiles import Comparison
from assets.workspace import ONE_RUN, Workspace
from validation.drift import DriftLimits
from validation.lake import Lake
from validation.steps import StepOutcome

DRIFT_CHECK = "no_drift"


def check_drift(
    comparisons: Mapping[str, Comparison], limits: Mapping[str, DriftLimits]
) -> dg.AssetCheckResult:
    """Passes when every corpus is within its limits of the state before, or its drift was accepted.

    An error, which keeps training rows from being made, where a corpus that drifted says ``on_drift: fail``.
    """
    drifted = [corpus for corpus, found in comparisons.items() if not found.passed]
    is_error = any(limits[corpus].on_drift == "fail" for corpus in drifted)
    lines = ["| corpus | state | compared with | findings |", "|---|--:|--:|---|"]
    for corpus, found in comparisons.items():
        before = "nothing: it is the first" if found.before is None else str(found.before.number)
        lines.append(f"| {corpus} | {found.now.number} | {before} | {_words(found)} |")
    description = "; ".join(
        f"{corpus}: {'; '.join(finding.detail for finding in comparisons[corpus].findings)} "
        f"(if that is meant: voxline report --accept-drift {corpus})"
        for corpus in drifted
    )
    first = [corpus for corpus, found in comparisons.items() if found.before is None]
    if first and not drifted:
        description = f"nothing to compare {', '.join(first)} with yet"
    return dg.AssetCheckResult(
        passed=not drifted,
        check_name=DRIFT_CHECK,
        severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        description=description or "every corpus is within its limits of the state before",
        metadata={"states": dg.MetadataValue.md("\n".join(lines))},
    )


def build(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset, partitioned by corpus, with its check, which blocks where a corpus says so."""

    @dg.asset(
        partitions_def=partitions,
        deps=["accepted_utterances"],
        backfill_policy=ONE_RUN,
        group_name="data",
        kinds={"html", "duckdb"},
        check_specs=[
            dg.AssetCheckSpec(
                DRIFT_CHECK,
                asset="corpus_report",
                blocking=True,
                description="no corpus has lost hours or a language, nor moved in its measures or reasons, "
                "beyond its limits",
            )
        ],
        description="One HTML page per corpus: histograms, reasons, hours, drift, and players; and one over all.",
    )
    def corpus_report(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
        lake, entries = workspace.lake, workspace.corpora.corpora

        def step(corpus: str) -> StepOutcome:
            return report_corpus(workspace.corpus(corpus), lake).outcome

        outcomes = run_step(context, step, lambda corpus: _shown(lake, corpus))
        write_index(lake, entries)
        # All corpora, whichever this run made: the check says how the data stand.
        found = {entry.name: last_comparison(lake, entry) for entry in entries}
        comparisons = {corpus: one for corpus, one in found.items() if one is not None}
        return dg.MaterializeResult(
            metadata={**totals(outcomes), "index": dg.MetadataValue.path(lake.uri(INDEX))},
            check_results=[check_drift(comparisons, {entry.name: entry.drift for entry in entries})],
        )

    return corpus_report


def _shown(lake: Lake, corpus: str) -> dict[str, dg.MetadataValue]:
    drawings = {name: dg.MetadataValue.md(text) for name, text in read_drawings(lake, corpus).items()}
    return {"report": dg.MetadataValue.path(lake.uri(report_path(corpus))), **drawings}


def _words(found: Comparison) -> str:
    words: Sequence[str] = [code_cell(finding.detail) for finding in found.findings]
    if found.findings and found.now.accepted is not None:
        words = [*words, f"accepted by {found.now.accepted.by} at {found.now.accepted.at}"]
    return "; ".join(words) or "none"
