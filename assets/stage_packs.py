"""``stage_packs``: packed sequences of each stage's mixture; stages with the same mixture share one pack."""

from typing import Any

import dagster as dg

from assets.data_digests import rows_digest
from assets.outputs import Output, Outputs, inputs_digest
from assets.programs import Pipes, command_of, launch, read_metadata
from assets.speech_tokenizer import tokenizer_of
from assets.workspace import ONE_RUN, Workspace
from training_jobs.jobs import PackJob
from training_jobs.mixture import Mixture
from training_jobs.spec import STAGES, Stage, StageSpec

RECIPE = 4


def pack_pointer(stage: Stage) -> str:
    """Name of the pointer to a stage's pack."""
    return f"stage_packs.{stage}"


def pack_inputs(workspace: Workspace, spec: StageSpec, tokenizer_digest: str, base_model: Output) -> str:
    """Digest of what the stage's pack is made from: data, tokenizers, mixture, ratio, length, seed."""
    items = workspace.mixture(spec)
    mixture = [item.model_dump(mode="json") for item in items]
    fields = Mixture(items, workspace.corpus_names).used
    return inputs_digest(
        RECIPE,
        rows=rows_digest(workspace.lake, workspace.corpus_names, "train", fields),
        tokenizer=tokenizer_digest,
        base_model=base_model.inputs,
        mixture=mixture,
        ratio=list(spec.ratio),
        sequence_length=spec.sequence_length,
        seed=spec.seed,
    )


def build() -> dg.AssetsDefinition:
    """The asset."""

    @dg.asset(
        deps=["training_jsonl", "audio_tokens", "base_model"],
        backfill_policy=ONE_RUN,
        group_name="training",
        kinds={"numpy"},
        description="Packed rows with restarting position ids, and the plan of which row holds which samples.",
    )
    def stage_packs(
        context: dg.AssetExecutionContext, workspace: Workspace, pipes: Pipes
    ) -> dg.MaterializeResult:
        outputs = Outputs(workspace.training_dir)
        tokenizer_digest = tokenizer_of(outputs.present("speech_tokenizer"))[1]
        base_model = outputs.present("base_model")
        metadata: dict[str, Any] = {"recomputed": False}
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
                    output_dir=directory,
                )
                launch(context, pipes, directory, job, command_of(workspace, "pack"))
            outputs.publish("stage_packs", inputs, pointer=pack_pointer(stage))
            metadata |= {f"{stage}: {key}": value for key, value in read_metadata(directory).items()}
        return dg.MaterializeResult(metadata=metadata)

    return stage_packs
