"""What makes an evaluation or a latency another one: how the model decodes, and not only which model it is."""

from pathlib import Path

from assets.evaluation_report import evaluation_inputs
from assets.final_model import FINAL_STAGE, FinalModel
from assets.latency_benchmark import latency_inputs
from assets.outputs import Output, Outputs
from training_jobs.decoding_settings import DecodingSettings
from training_jobs.jobs import Tracking
from training_jobs.profile import load_profile
from training_jobs.spec import load_stage


def test_decoding_otherwise_is_measured_anew_and_leaves_the_training_as_it_is(tmp_path: Path) -> None:
    final = FinalModel(
        outputs=Outputs(tmp_path),
        output=Output(FINAL_STAGE, "weights", tmp_path),
        spec=load_stage(FINAL_STAGE, "tiny"),
        tokenizer_dir=tmp_path,
        tokenizer_digest="tokenizer",
        held_out="rows",
        tracking=Tracking(uri="sqlite:///mlflow.db", artifact_root=str(tmp_path), tags={}),
    )
    profile = load_profile("tiny")
    assert not profile.decoding.constrained  # the full head, as the reference has it
    constrained = profile.model_copy(update={"decoding": DecodingSettings(constrained=True)})
    again = profile.model_copy(update={"decoding": DecodingSettings()})
    assert latency_inputs(final, again) == latency_inputs(final, profile)
    assert latency_inputs(final, constrained) != latency_inputs(final, profile)
    assert evaluation_inputs(final, again, []) == evaluation_inputs(final, profile, [])
    assert evaluation_inputs(final, constrained, []) != evaluation_inputs(final, profile, [])
    assert "constrained" not in final.spec.decisive()
