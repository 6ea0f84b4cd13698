"""``stage_packs``: packed sequences of each stage's mixture; stages with the same mixture share one pack."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
import pyarrow.parquet as pq

from assets.data_digests import rows_digest, sources_digest
from assets.outputs import Output, Outputs, inputs_digest
from assets.programs import Pipes, command_of, launch, read_metadata
from assets.speech_tokenizer import tokenizer_of
from assets.workspace import ONE_RUN, Workspace
from training_jobs.jobs import PackJob
from training_jobs.mixture import Mixture
from training_jobs.plan import SAMPLE_LEDGER_FILE, read_plan
from training_jobs.spec import STAGES, Stage, StageSpec
from training_jobs.tracked_data import drawn_of_sources
from validation.batches import batches_of_file
from validation.lake import Lake
from validation.sample_balance import balance_faults, sample_balances, sample_parts, write_sample_ledger
from validation.schemas import polars_schema

RECIPE = 4
BALANCE_CHECK = "samples_balance"


def pack_pointer(stage: Stage) -> str:
    """Name of the pointer to a stage's pack."""
    return f"stage_packs.{stage}"


def pack_inputs(workspace: Workspace, spec: StageSpec, tokenizer_digest: str, base_model: Output) -> str:
    """Digest of what the stage's pack is made from: data, tokenizers, mixture, ratio, length, seed, what is cut."""
    items, lake, corpora = workspace.mixture(spec), workspace.lake, workspace.corpus_names
    mixture = Mixture(items, corpora)
    return inputs_digest(
        RECIPE,
        rows=rows_digest(lake, corpora, "train", mixture.used),
        files=sources_digest(lake, corpora) if mixture.has_files else None,
        tokenizer=tokenizer_digest,
        base_model=base_model.inputs,
        mixture=[item.model_dump(mode="json") for item in items],
        ratio=list(spec.ratio),
        sequence_length=spec.sequence_length,
        seed=spec.seed,
        over_long=spec.over_long,
    )


def publish_ledger(lake: Lake, profile: str, stage: Stage, pack: Output) -> None:
    """Write what became of every training row in the stage's pack into ``sample_ledger``, if it is not there."""
    partition = f"{profile}-{stage}"
    manifest = lake.read_manifest("sample_ledger", partition)
    if (
        manifest is not None
        and manifest["inputs"] == pack.inputs
        and manifest["summary"]["parts"] == sample_parts(lake, profile, stage)
    ):
        return

    def rows() -> Iterator[pl.DataFrame]:
        with pq.ParquetFile(pack.path / SAMPLE_LEDGER_FILE) as file:
            for batch in batches_of_file(file):
                yield batch.with_columns(
                    profile=pl.lit(profile), stage=pl.lit(stage), pack=pl.lit(pack.inputs)
                ).select(list(polars_schema("sample_ledger")))

    count = write_sample_ledger(lake, profile, stage, rows())
    summary = {"rows": count, "parts": sample_parts(lake, profile, stage)}
    lake.write_manifest("sample_ledger", partition, pack.inputs, summary)


def drawn_table(sources: Mapping[str, Mapping[str, Any]]) -> dg.TableMetadataValue:
    """What was drawn of each source, as a table of Dagster's."""
    records = []
    for source, counts in drawn_of_sources(sources).items():
        corpus, _, task = source.partition("/")
        records.append(dg.TableRecord({"corpus": corpus, "task": task, **counts}))
    columns = {"corpus": "string", "task": "string", "rows": "int", "samples": "int", "tokens": "int"}
    columns |= {"hours": "float", "share": "float"}
    schema = dg.TableSchema([dg.TableColumn(name, kind) for name, kind in columns.items()])
    return dg.MetadataValue.table(records, schema)


def check_balance(faults: Sequence[str]) -> dg.AssetCheckResult:
    """Passes when every training row of every stage has one end, and the packs hold what the ledger says."""
    return dg.AssetCheckResult(
        passed=not faults,
        check_name=BALANCE_CHECK,
        description="; ".join(faults) or "rows = accepted + rejected + unused, for each source of each stage",
    )


def build() -> dg.AssetsDefinition:
    """The asset, with its blocking check."""

    @dg.asset(
        deps=["training_jsonl", "audio_tokens", "base_model"],
        backfill_policy=ONE_RUN,
        group_name="training",
        kinds={"numpy"},
        check_specs=[
            dg.AssetCheckSpec(
                BALANCE_CHECK,
                asset="stage_packs",
                blocking=True,
                description="every training row is packed, cut, too long or not drawn, and is so once",
            )
        ],
        description="Packed rows of samples, the plan of which row holds which samples, and the "
        "ledger of what became of every training row.",
    )
    def stage_packs(
        context: dg.AssetExecutionContext, workspace: Workspace, pipes: Pipes
    ) -> dg.MaterializeResult:
        outputs, lake, profile = Outputs(workspace.training_dir), workspace.lake, workspace.profile_name
        tokenizer_digest = tokenizer_of(outputs.present("speech_tokenizer"))[1]
        base_model = outputs.present("base_model")
        metadata: dict[str, Any] = {"recomputed": False}
        faults: list[str] = []
        for stage in STAGES:
            spec = workspace.stage(stage)
            inputs = pack_inputs(workspace, spec, tokenizer_digest, base_model)
            directory = outputs.directory("stage_packs", inputs)
            if not outputs.is_done("stage_packs", inputs):
                metadata["recomputed"] = True
                job = PackJob(
                    lake=workspace.lake_root,
                    corpora=workspace.corpus_names,
                    model_dir=base_model.path / "model",
                    tokenizer_digest=tokenizer_digest,
                    mixture=workspace.mixture(spec),
                    ratio=spec.ratio,
                    sequence_length=spec.sequence_length,
                    seed=spec.seed,
                    over_long=spec.over_long,
                    output_dir=directory,
                )
                launch(context, pipes, directory, job, command_of(workspace, "pack"))
            pack = outputs.publish("stage_packs", inputs, pointer=pack_pointer(stage))
            publish_ledger(lake, profile, stage, pack)
            found = balance_faults(sample_balances(lake, profile, stage), read_plan(pack.path)["sources"])
            faults += [f"{stage}: {fault}" for fault in found]
            metadata |= {f"{stage}: {key}": value for key, value in read_metadata(directory).items()}
            metadata[f"{stage}: drawn"] = drawn_table(read_plan(pack.path)["sources"])
        return dg.MaterializeResult(metadata=metadata, check_results=[check_balance(faults)])

    return stage_packs
