"""``audio_fingerprints``, ``duplicates`` and ``leakage``: what training shares with an evaluation set is refused."""

from collections.abc import Collection

import dagster as dg

from assets.audio.fingerprints import make_fingerprints
from assets.audio.plots import code_cell
from assets.corpora.config import CorpusEntry
from assets.per_corpus import run_step, totals
from assets.workspace import ONE_RUN, Workspace
from validation.batches import database, files_of
from validation.lake import Lake
from validation.leakage import Verdict, check_leakage, verdict
from validation.leakage_duplicates import find_duplicates

LEAKAGE_CHECK = "nothing_leaks"


def held_out_speakers(lake: Lake, entry: CorpusEntry) -> Collection[str]:
    """Speakers of the corpus that a split rule on the field ``speaker`` keeps out of training."""
    rules = [rule for rule in entry.split if rule.field == "speaker"]
    if not rules:
        return []
    files = files_of(lake, "accepted_utterances", [entry.name])
    with database(lake) as connection:
        statement = f"SELECT DISTINCT speaker FROM {files} ORDER BY speaker"  # noqa: S608 - the path is quoted
        speakers = [row[0] for row in connection.execute(statement).fetchall()]
    return [speaker for speaker in speakers if any(rule.matches(speaker) for rule in rules)]


def check_verdict(found: Verdict) -> dg.AssetCheckResult:
    """Passes when no training row shares with an evaluation set what the set's rules block."""
    lines = ["| evaluation set | rule | action | corpus | rows |", "|---|---|---|---|--:|"]
    lines += [
        f"| {one['evaluation_set']} | {one['rule']} | {one['action']} | {one['corpus']} | {one['rows']} |"
        for one in found.counts
    ]
    examples = "\n".join(f"- {code_cell(detail)}" for detail in found.examples)
    return dg.AssetCheckResult(
        passed=found.passed,
        check_name=LEAKAGE_CHECK,
        severity=dg.AssetCheckSeverity.ERROR,
        description="nothing is shared with an evaluation set"
        if found.passed
        else f"{found.blocked} findings refuse the training data: see the table leakage",
        metadata={"findings": dg.MetadataValue.md("\n".join(lines)), "first": dg.MetadataValue.md(examples)},
    )


def build(partitions: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The three assets; what is downstream of ``leakage`` is skipped while its check fails."""

    @dg.asset(
        partitions_def=partitions,
        deps=["accepted_utterances"],
        backfill_policy=ONE_RUN,
        group_name="data",
        kinds={"parquet", "numpy"},
        description="Acoustic fingerprint of each accepted audio; it survives coding, resampling, gain and silence.",
    )
    def audio_fingerprints(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
        outcomes = run_step(
            context, lambda corpus: make_fingerprints(workspace.corpus(corpus), workspace.lake)
        )
        return dg.MaterializeResult(metadata=totals(outcomes))

    @dg.asset(
        deps=["audio_fingerprints"],
        backfill_policy=ONE_RUN,
        group_name="data",
        kinds={"parquet", "duckdb"},
        description="Rows that repeat another: the same samples, the same recording, the same words of one speaker.",
    )
    def duplicates(workspace: Workspace) -> dg.MaterializeResult:
        outcome = find_duplicates(workspace.lake, workspace.corpus_names)
        return dg.MaterializeResult(
            metadata={"rows": outcome.rows, "recomputed": outcome.recomputed, **outcome.summary["kinds"]}
        )

    @dg.asset(
        deps=["audio_fingerprints"],
        backfill_policy=ONE_RUN,
        group_name="data",
        kinds={"parquet", "duckdb"},
        check_specs=[
            dg.AssetCheckSpec(
                LEAKAGE_CHECK,
                asset="leakage",
                blocking=True,
                description="no training row shares audio, words or a held-out speaker with an evaluation set",
            )
        ],
        description="Training rows that share something with a declared evaluation set, and with which of its rows.",
    )
    def leakage(workspace: Workspace) -> dg.MaterializeResult:
        lake = workspace.lake
        entries = workspace.corpora.corpora
        speakers = {entry.name: held_out_speakers(lake, entry) for entry in entries}
        outcome = check_leakage(lake, workspace.corpora.evaluation, workspace.corpus_names, speakers)
        return dg.MaterializeResult(
            metadata={
                "rows": outcome.rows,
                "recomputed": outcome.recomputed,
                "sets": dg.MetadataValue.json(outcome.summary["sets"]),
            },
            check_results=[check_verdict(verdict(lake))],
        )

    return [audio_fingerprints, duplicates, leakage]
