"""``audio_tokens``: token ids by content, computed only where they are missing."""

from typing import Any

import dagster as dg

from assets.data_digests import accepted_audio_digest
from assets.outputs import Outputs, inputs_digest
from assets.per_corpus import run_step, totals
from assets.programs import Pipes, command_of, launch
from assets.speech_tokenizer import tokenizer_of
from assets.workspace import ONE_RUN, Workspace
from training_jobs.jobs import TokenizeJob
from validation.batches import database, files_of
from validation.lake import Lake
from validation.schemas import TableName
from validation.steps import StepOutcome, table_digest

STEP: TableName = "audio_tokens"
RECIPE = 2


def build(partitions: dg.PartitionsDefinition[str]) -> dg.AssetsDefinition:
    """The asset, partitioned by corpus; all corpora of a run are encoded by one program."""

    @dg.asset(
        partitions_def=partitions,
        deps=["accepted_utterances", "augmentations", "speech_tokenizer"],
        backfill_policy=ONE_RUN,
        group_name="data",
        kinds={"parquet", "numpy"},
        description="Token ids of every accepted recording and of its variants, by (audio digest, tokenizer digest, "
        "augmentation digest).",
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
                RECIPE,
                audio=accepted_audio_digest(lake, corpus),
                variants=table_digest(lake, "augmentations", corpus),
                tokenizer=tokenizer_digest,
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
            if corpus in stale:
                lake.write_manifest(
                    STEP, corpus, inputs[corpus], token_figures(lake, corpus, tokenizer_digest)
                )
            summary = (lake.read_manifest(STEP, corpus) or {})["summary"]
            rows = int(summary["recordings"]) + int(summary["variants"])
            return StepOutcome(recomputed=corpus in stale, inputs=inputs[corpus], rows=rows, summary=summary)

        return dg.MaterializeResult(metadata=totals(run_step(context, outcome)))

    return audio_tokens


def token_figures(lake: Lake, corpus: str, tokenizer_digest: str) -> dict[str, Any]:
    """Recordings and variants that have tokens of the tokenizer, how many, of how many seconds and different codes."""
    files = files_of(lake, STEP, [corpus])
    with database(lake) as connection:
        found = connection.execute(
            f"""WITH tokens AS (SELECT * FROM {files} WHERE tokenizer_digest = ?)
            SELECT count(*) FILTER (augmentation_digest = ''), count(*) FILTER (augmentation_digest <> ''),
                coalesce(sum(len(token_ids)), 0), coalesce(sum(duration_s), 0),
                (SELECT count(DISTINCT code) FROM (SELECT unnest(token_ids) AS code FROM tokens))
            FROM tokens""",  # noqa: S608 - the paths are quoted
            [tokenizer_digest],
        ).fetchone()
    assert found is not None
    recordings, variants, tokens, seconds, codes = found
    return {
        "recordings": int(recordings),
        "variants": int(variants),
        "tokens": int(tokens),
        "seconds": round(float(seconds), 3),
        "codes_in_use": int(codes),
        "tokenizer_digest": tokenizer_digest,
    }
