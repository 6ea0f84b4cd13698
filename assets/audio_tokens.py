"""``audio_tokens``: token ids by content, computed only where they are missing."""

import dagster as dg
import polars as pl

from assets.data_digests import accepted_audio_digest
from assets.outputs import Outputs, inputs_digest
from assets.per_corpus import run_step, totals
from assets.programs import Pipes, command_of, launch
from assets.speech_tokenizer import tokenizer_of
from assets.workspace import ONE_RUN, Workspace
from training_jobs.jobs import TokenizeJob
from validation.schemas import TableName
from validation.steps import StepOutcome

STEP: TableName = "audio_tokens"
RECIPE = 1


def build(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset, partitioned by corpus; all corpora of a run are encoded by one program."""

    @dg.asset(
        partitions_def=partitions,
        deps=["accepted_utterances", "speech_tokenizer"],
        backfill_policy=ONE_RUN,
        group_name="data",
        kinds={"parquet", "numpy"},
        description="Token ids of every accepted recording, by (audio digest, tokenizer digest).",
    )
    def audio_tokens(
        context: dg.AssetExecutionContext, workspace: Workspace, pipes: Pipes
    ) -> dg.MaterializeResult:
        lake = workspace.lake
        tokenizer_dir, tokenizer_digest = tokenizer_of(
            Outputs(workspace.training_dir).present("speech_tokenizer")
        )
        inputs = {
            corpus: inputs_digest(
                RECIPE, audio=accepted_audio_digest(lake, corpus), tokenizer=tokenizer_digest
            )
            for corpus in context.partition_keys
        }
        stale = [
            corpus
            for corpus, digest in inputs.items()
            if (lake.read_manifest(STEP, corpus) or {}).get("inputs") != digest
            or not lake.has_table(STEP, corpus)
        ]
        if stale:
            directory = workspace.training_dir / "tokenize" / inputs_digest(RECIPE, inputs=inputs)[:16]
            job = TokenizeJob(
                lake=workspace.lake_root, tokenizer_dir=tokenizer_dir, corpora=stale, output_dir=directory
            )
            launch(
                context,
                pipes,
                directory,
                job,
                command_of(workspace, "tokenize_audio"),
            )

        def outcome(corpus: str) -> StepOutcome:
            table = lake.read_table(STEP, corpus).filter(pl.col("tokenizer_digest") == tokenizer_digest)
            summary = {
                "tokens": int(table["token_ids"].list.len().sum()),
                "seconds": float(table["duration_s"].sum()),
                "codes_in_use": table["token_ids"].explode().n_unique() if table.height else 0,
                "tokenizer_digest": tokenizer_digest,
            }
            if corpus in stale:
                lake.write_manifest(STEP, corpus, inputs[corpus], summary)
            return StepOutcome(
                recomputed=corpus in stale, inputs=inputs[corpus], rows=table.height, summary=summary
            )

        return dg.MaterializeResult(metadata=totals(run_step(context, outcome)))

    return audio_tokens
