"""The four jobs; each does all corpora in one run, as a range of partitions."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
from dagster import AssetSelection

# Dagster's own tags for a run over a range of partitions (single-run backfill policy).
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"

PREPARE = AssetSelection.assets(
    "raw_utterances",
    "audio_22k",
    "audio_quality",
    "accepted_utterances",
    "corpus_report",
    "audio_fingerprints",
    "duplicates",
    "leakage",
    "training_jsonl",
    "augmentations",
)
TRAIN = AssetSelection.assets(
    "speech_tokenizer",
    "audio_tokens",
    "base_model",
    "stage_packs",
    "text_audio_alignment",
    "single_mctp",
    "multi_mctp",
    "sft",
)
REGISTER = AssetSelection.assets(
    "evaluation_report", "latency_benchmark", "registered_model", "version_report"
)

EVERYTHING = "everything"
PREPARE_DATA = "prepare_data"


def all_corpora(corpora: Sequence[str]) -> dict[str, str]:
    """Run tags that select every corpus; none where there is no corpus yet."""
    return {RANGE_START: corpora[0], RANGE_END: corpora[-1]} if corpora else {}


def build_jobs(corpora: Sequence[str]) -> list[dg.JobDefinition | dg.UnresolvedAssetJobDefinition]:
    """The jobs over ``corpora``.

    Steps run in the run's own process: the work itself is done by process pools and by programs of their own, so
    that a process per step would only add its start-up (decisions.md).
    """
    tags = all_corpora(corpora)

    def job(name: str, selection: AssetSelection, description: str) -> dg.UnresolvedAssetJobDefinition:
        return dg.define_asset_job(
            name, selection, description=description, run_tags=tags, executor_def=dg.in_process_executor
        )

    return [
        job(PREPARE_DATA, PREPARE, "Corpora to accepted utterances and training JSONL."),
        job("train_all_stages", TRAIN, "Tokens, packs and the four stages."),
        job("benchmark_and_register", REGISTER, "Evaluation, latency, registry, report."),
        job(EVERYTHING, PREPARE | TRAIN | REGISTER, "Raw recordings to a registered, benchmarked model."),
    ]
