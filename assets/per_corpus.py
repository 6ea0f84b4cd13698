"""Assets partitioned by corpus: one pure step per corpus, its figures as metadata of the partition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from validation.steps import StepOutcome

CorpusStep = Callable[[str], StepOutcome]


def run_step(
    context: dg.AssetExecutionContext,
    step: CorpusStep,
    show: Callable[[str], Mapping[str, Any]] | None = None,
) -> dict[str, StepOutcome]:
    """Run ``step`` for each corpus of the run, and report each one's figures.

    A corpus that fails does not keep the others from being done; the step fails after the last one.

    Args:
        step: from the corpus's name to what was done.
        show: from the corpus's name to more metadata (plots, tables).

    Raises:
        dagster.Failure: naming each corpus that failed and why.
    """
    outcomes: dict[str, StepOutcome] = {}
    failures: dict[str, Exception] = {}
    for corpus in context.partition_keys:
        try:
            outcome = step(corpus)
        except (ValueError, OSError) as error:
            context.log.exception(f"{corpus}: {error}")
            failures[corpus] = error
            continue
        outcomes[corpus] = outcome
        state = "made" if outcome.recomputed else "up to date"
        context.log.info(f"{corpus}: {state}, {outcome.rows} rows")
        metadata: dict[str, Any] = {
            "rows": outcome.rows,
            "recomputed": outcome.recomputed,
            "inputs": outcome.inputs,
            "summary": dg.MetadataValue.json(outcome.summary),
        }
        context.add_asset_metadata({**metadata, **(show(corpus) if show else {})}, partition_key=corpus)
    if failures:
        first = next(iter(failures.values()))
        raise dg.Failure(
            description="; ".join(f"corpus {corpus}: {error}" for corpus, error in failures.items()),
            metadata={"corpora": list(failures)},
        ) from first
    return outcomes


def totals(outcomes: Mapping[str, StepOutcome]) -> dict[str, Any]:
    """Metadata of the whole materialisation."""
    return {
        "total_rows": sum(outcome.rows for outcome in outcomes.values()),
        # Each partition's page shows this before its own figures: a list would take a line per corpus.
        "recomputed_corpora": ", ".join(corpus for corpus, outcome in outcomes.items() if outcome.recomputed),
    }
