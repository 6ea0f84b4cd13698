"""What evaluation, benchmark and registration have in common: the last stage's model, and what it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from assets.data_digests import rows_digest
from assets.outputs import Output, Outputs
from assets.speech_tokenizer import tokenizer_of
from assets.workspace import Workspace
from training_jobs.jobs import Tracking
from training_jobs.spec import STAGES, StageSpec

FINAL_STAGE = STAGES[-1]


@dataclass(frozen=True)
class FinalModel:
    """The present model of the last stage.

    Attributes:
        output: the stage's output; the weights lie in ``model_dir``.
        held_out: digest of the held-out rows.
        tracking: with the tags of the training data, not of the held-out rows.
    """

    outputs: Outputs
    output: Output
    spec: StageSpec
    tokenizer_dir: Path
    tokenizer_digest: str
    held_out: str
    tracking: Tracking

    @property
    def model_dir(self) -> Path:
        """Weights, config and text tokenizer."""
        return self.output.path / "model"


def final_model(context: dg.AssetExecutionContext, workspace: Workspace) -> FinalModel:
    """The present model of the last stage.

    Raises:
        assets.outputs.MissingOutputError: if it, or the audio tokenizer, has not been made.
    """
    outputs = Outputs(workspace.training_dir)
    tokenizer_dir, tokenizer_digest = tokenizer_of(outputs.present("speech_tokenizer"))
    lake, corpora = workspace.lake, workspace.corpus_names
    return FinalModel(
        outputs=outputs,
        output=outputs.present(FINAL_STAGE),
        spec=workspace.stage(FINAL_STAGE),
        tokenizer_dir=tokenizer_dir,
        tokenizer_digest=tokenizer_digest,
        held_out=rows_digest(lake, corpora, "test"),
        tracking=workspace.tracking(
            context, tokenizer_digest, rows_digest(lake, corpora, "train"), FINAL_STAGE
        ),
    )
