"""What is reckoned before a stage is trained: parameters, memory, time and disk; what does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from training_jobs import preflight
from training_jobs.activation_memory import Device, Sizes
from training_jobs.jobs import MeasuredStage, PreflightJob, read_result
from training_jobs.memory_model import KINDS, checkpoint_bytes, rank_memory
from training_jobs.preflight_cost import flop_per_token, most_checkpoints, speed_of
from training_jobs.preflight_model import base_config, sizes_of, stage_model
from training_jobs.profile import load_profile
from training_jobs.reporting import Reporter
from training_jobs.spec import STAGES, ProfileName, StageSpec, load_stage
from validation.errors import ConfigurationError

GIB = 1 << 30
GPU = Device("cuda", is_bfloat16=True, attention="varlen", loss_rows=798)
CPU = Device("cpu", is_bfloat16=False, attention="windowed", loss_rows=512)


@pytest.fixture(autouse=True)
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXLINE_BASE_MODEL", raising=False)


def sizes(profile: ProfileName, spec: StageSpec) -> Sizes:
    settings = load_profile(profile)
    return sizes_of(stage_model(base_config(settings.base_model, settings.audio_tokenizer.codes), spec), spec)


def job(tmp_path: Path, profile: ProfileName, **changes: Any) -> PreflightJob:
    settings = load_profile(profile)
    values = {
        "specs": [load_stage(stage, profile) for stage in STAGES],
        "base_model": settings.base_model,
        "audio_codes": settings.audio_tokenizer.codes,
        "gpu_memory_gib": 80,
        "measured": [],
        "home": tmp_path / "home",
        "output_dir": tmp_path / "out",
    }
    return PreflightJob(**{**values, **changes})


def reckoned(job: PreflightJob) -> dict[str, Any]:
    job.output_dir.mkdir(exist_ok=True)
    preflight.run(job, Reporter(lambda line: None))
    found = read_result(job.output_dir)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("profile", "layers", "parameters", "module"),
    [
        ("7b", 28, 10_317_912_576, 258_755_072),
        ("1.5b", 28, 2_083_694_080, None),
        ("0.5b", 24, 673_688_704, None),
    ],
)
def test_published_models_have_their_parameters_and_ten_modules(
    profile: ProfileName, layers: int, parameters: int, module: int | None
) -> None:
    found = sizes(profile, load_stage("sft", profile))
    assert (found.layers, found.modules, found.vocabulary) == (layers, 10, 168_072)
    assert found.parameters == parameters == found.trainable
    assert module is None or found.per_module == module


def test_a_stage_of_modules_trains_those_and_nothing_else() -> None:
    found = sizes("7b", load_stage("multi_mctp", "7b"))
    assert found.trainable == 10 * 258_755_072
    assert (found.trains_backbone, found.trains_head, found.levels) == (False, False, 10)


def test_the_tiny_base_model_is_the_one_that_is_made() -> None:
    # 259 bytes and control tokens, 20 special ones and 512 codes, in multiples of eight.
    assert sizes("tiny", load_stage("sft", "tiny")).vocabulary == 792


@pytest.mark.parametrize("offload", ["none", "optimizer", "weights"])
@pytest.mark.parametrize("zero_stage", [1, 2, 3])
@pytest.mark.parametrize("device", [GPU, CPU], ids=["gpu", "cpu"])
def test_kinds_sum_up_and_the_peak_is_the_largest_moment(
    zero_stage: int, offload: str, device: Device
) -> None:
    spec = load_stage("sft", "7b").model_copy(update={"zero_stage": zero_stage, "offload": offload})
    found = rank_memory(sizes("7b", spec), spec, 8, device)
    for moment in found.moments:
        assert moment.total == sum(getattr(moment, kind) for kind in KINDS)
        assert all(getattr(moment, kind) >= 0 for kind in KINDS)
    assert found.peak.total == max(moment.total for moment in found.moments)
    assert (found.host > 0) == (device.kind == "cuda")


def test_more_ranks_higher_stages_and_offloading_each_take_memory_off_a_gpu() -> None:
    spec = load_stage("sft", "7b")
    model = sizes("7b", spec)

    def needed(ranks: int = 8, **changes: Any) -> int:
        return rank_memory(model, spec.model_copy(update=changes), ranks, GPU).peak.total

    assert needed(32) < needed(8) < needed(1)
    assert needed(zero_stage=3) < needed(zero_stage=2) < needed(zero_stage=1)
    assert needed(offload="optimizer") < needed()
    assert needed(32, sequence_length=1024) < needed(32, sequence_length=65_536)
    assert needed(sequence_length=32_768) < needed(sequence_length=32_768, gradient_checkpointing=False)


def test_a_checkpoint_holds_fourteen_bytes_of_each_trained_value_in_bfloat16() -> None:
    assert checkpoint_bytes(sizes("7b", load_stage("sft", "7b")), GPU) == 10_317_912_576 * 14


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({"checkpoints": 4, "keep_milestones": False}, 3),
        ({"checkpoints": 1, "keep_milestones": False}, 1),
        # Nine milestones, those of the last two saves among them, and the one at the end.
        ({"checkpoints": 10, "keep_milestones": True}, 10),
        ({"checkpoints": 40, "keep_milestones": True}, 12),
    ],
)
def test_checkpoints_are_counted_with_the_one_that_is_being_written(changes: Any, most: int) -> None:
    spec = load_stage("sft", "7b").model_copy(update={"keep_checkpoints": 2, **changes})
    assert most_checkpoints(spec) == most


def test_time_comes_from_a_measurement_or_is_not_stated() -> None:
    specs = {stage: load_stage(stage, "7b") for stage in STAGES}
    work = {stage: flop_per_token(sizes("7b", spec), spec) for stage, spec in specs.items()}
    assert speed_of("sft", 8, work, [], None, "H100") is None
    own = MeasuredStage(stage="sft", tokens_per_second=1000, ranks=8, device="H100")
    found = speed_of("sft", 32, work, [own], None, "H200")
    assert found is not None
    assert found.tokens_per_second == 4000
    assert "sft of this home" in found.origin
    assert "as if each rank were as fast, as if H200 were as fast" in found.origin
    assert speed_of("sft", 8, work, [own], None, "CPU") is None
    unrecorded = own.model_copy(update={"device": ""})
    assert speed_of("sft", 8, work, [unrecorded], None, "H100") is None
    other = speed_of("text_audio_alignment", 8, work, [own], None, "H100")
    assert other is not None
    assert other.tokens_per_second == pytest.approx(1000 * work["sft"] / work["text_audio_alignment"])
    stated = speed_of("text_audio_alignment", 8, work, [own], 5000, "H100")
    assert stated is not None
    assert (stated.tokens_per_second, stated.origin) == (5000, "as stated")


def test_seven_billion_parameters_fit_on_thirty_two_gpus_and_a_step_has_the_same_tokens(
    tmp_path: Path,
) -> None:
    found = reckoned(job(tmp_path, "7b", gpus=32))
    assert [stage["fits"] for stage in found["stages"]] == [True] * 4
    assert {stage["accumulation"] for stage in found["stages"]} == {4}
    assert found["stages"][0]["tokens_per_step"] == 128 * 32_768
    assert all(stage["hours"] is None for stage in found["stages"])
    assert found["published_sizes"]


def test_what_does_not_fit_is_refused_with_need_room_and_changes_that_are_true(tmp_path: Path) -> None:
    asked = job(tmp_path, "7b", gpus=8, gpu_memory_gib=40)
    found = reckoned(asked)
    refusal = next(line for line in found["refusals"] if line.startswith("sft"))
    stage = next(stage for stage in found["stages"] if stage["stage"] == "sft")
    assert f"{stage['memory']['total'] / GIB:.1f} GiB per rank" in refusal
    assert "36.0 GiB of 40.0 are usable" in refusal
    assert "zero_stage: 3" in refusal
    changed = [
        spec.model_copy(update={"zero_stage": 3, "offload": "weights"}) if spec.stage == "sft" else spec
        for spec in asked.specs
    ]
    again = reckoned(asked.model_copy(update={"specs": changed}))
    assert not [line for line in again["refusals"] if line.startswith("sft")]


def test_a_stage_that_nothing_makes_fit_says_so(tmp_path: Path) -> None:
    found = reckoned(job(tmp_path, "7b", gpus=1, gpu_memory_gib=2))
    assert "No change of its spec that was tried makes it fit" in found["refusals"][0]


def test_without_a_gpu_the_memory_of_the_host_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = reckoned(job(tmp_path, "tiny"))
    assert found["device"]["kind"] == "cpu"
    assert [stage["ranks"] for stage in found["stages"]] == [2] * 4
    assert found["refusals"] == []


def test_a_full_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 100 * GIB}))
    found = reckoned(job(tmp_path, "7b", gpus=32))
    (refusal,) = found["refusals"]
    assert "100 GiB are free" in refusal
    assert "or take keep_milestones: false, with which" in refusal


def test_a_model_that_is_named_and_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXLINE_BASE_MODEL", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match="has no config"):
        reckoned(job(tmp_path, "7b", gpus=8))
