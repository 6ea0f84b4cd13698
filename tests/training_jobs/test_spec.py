"""Stage specs and profiles: the published values, what tiny changes, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from training_jobs.profile import (
    BaseModelSettings,
    TinyBackbone,
    base_model_directory,
    check_size,
    load_profile,
)
from training_jobs.spec import PROFILES, STAGES, Curriculum, Stage, StageSpec, load_stage, undeciding_fields
from validation.errors import ConfigurationError

# stage: starts from, modules, trains, lr, decay, steps, length (the design's table)
PUBLISHED = {
    "text_audio_alignment": ("base_model", 0, "all", 6.0e-5, 0.0, 8000, 32768),
    "single_mctp": ("text_audio_alignment", 1, "mctp", 1.0e-3, 0.0, 4000, 32768),
    "multi_mctp": ("single_mctp", 10, "mctp", 1.0e-3, 0.0, 8000, 32768),
    "sft": ("multi_mctp", 10, "all", 5.0e-5, 0.1, 4000, 2048),
}
STAGE_FILES = Path(__file__).parents[2] / "training_jobs" / "stages"


@pytest.mark.parametrize("stage", STAGES)
def test_7b_has_the_published_hyper_parameters(stage: Stage) -> None:
    spec = load_stage(stage, "7b")
    row = (spec.starts_from, spec.mctp_modules, spec.trainable, spec.learning_rate, spec.weight_decay)
    assert (*row, spec.steps, spec.sequence_length) == PUBLISHED[stage]
    assert (spec.micro_batch, spec.accumulation(8), spec.clip, spec.seed) == (1, 16, 1.0, 42)
    assert (spec.adam_beta1, spec.adam_beta2, spec.adam_epsilon) == (0.9, 0.95, 1e-8)
    assert (spec.warmup_share, spec.final_learning_rate_share) == (0.03, 0.1)
    assert (spec.checkpoints, spec.keep_checkpoints, spec.zero_stage, spec.gradient_checkpointing) == (
        10,
        2,
        2,
        True,
    )
    assert spec.mctp_learning_rate_factor == (10.0 if stage == "sft" else 1.0)
    assert (spec.batch_rows, spec.accumulation(32), spec.reference_boundaries, spec.curriculum) == (
        128,
        4,
        False,
        None,
    )


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("profile", ["0.5b", "1.5b"])
def test_a_smaller_published_model_has_the_same_hyper_parameters(stage: Stage, profile: str) -> None:
    assert load_stage(stage, profile) == load_stage(stage, "7b")  # type: ignore[arg-type]  # two of ProfileName


@pytest.mark.parametrize("stage", STAGES)
def test_tiny_differs_in_sizes_only(stage: Stage) -> None:
    """The same path: what starts from what, what trains, how many modules."""
    tiny, large = load_stage(stage, "tiny"), load_stage(stage, "7b")
    for field in (
        "starts_from",
        "mctp_modules",
        "trainable",
        "zero_stage",
        "ratio",
        "mixture",
        "mtp_loss_weight",
    ):
        assert getattr(tiny, field) == getattr(large, field), field
    assert tiny.steps < large.steps


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_loads_and_has_the_mixtures_of_its_stages(name: str) -> None:
    profile = load_profile(name)  # type: ignore[arg-type]  # PROFILES is the Literal's values
    assert {load_stage(stage, profile.name).mixture for stage in STAGES} <= set(profile.mixtures)


def written_stage(folder: Path, **changes: object) -> Path:
    shutil.copy(STAGE_FILES / "common.yaml", folder)
    document = yaml.safe_load((STAGE_FILES / "sft.yaml").read_text())
    (folder / "sft.yaml").write_text(yaml.safe_dump(document | changes))
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"leaning_rate": 1.0}, "leaning_rate: Extra inputs are not permitted"),
        ({"profiles": {"tiny": {"batch": 2}}}, "batch: Extra inputs are not permitted"),
        ({"profiles": {"huge": {}}}, "unknown profiles \\['huge'\\]"),
        ({"clip": -1.0}, "clip: .*greater than 0.*-1.0"),
        ({"mctp_modules": 0, "trainable": "mctp"}, "mctp_modules is 0"),
        ({"ratio": [1, 10, 4]}, "must be pairs"),
        ({"ratio": [1, 2]}, "audio count of at least 3"),
        ({"processes": 0}, r"processes.*greater than or equal to 1.*got 0"),
        ({"seed": -1}, r"seed: .*greater than or equal to 0.*got -1"),
        ({"zero_stage": 4}, r"zero_stage: .*1, 2 or 3.*got 4"),
        ({"offload": "weights"}, "offload weights needs zero_stage 3, but zero_stage is 2"),
        ({"micro_batch": 3}, "batch_rows 2 is not a multiple of micro_batch 3"),
        ({"curriculum": {"until_share": 0}}, "until_share: .*greater than 0"),
        ({"mctp_modules": 0, "curriculum": {"until_share": 0.5}}, "has a curriculum .* mctp_modules is 0"),
        ({"explosion": {"in_a_row": 0}}, "explosion.in_a_row: .*greater than 0"),
        (
            {"starts_from": "sft"},
            r"starts from sft; it may start from one of \['base_model', .*'multi_mctp'\]",
        ),
        (
            {"profiles": {"7b": {"starts_from": "base_model"}}},
            r"profiles.7b: \['starts_from'\] must be the same",
        ),
        ({"stage": "multi_mctp", "starts_from": "base_model"}, "the file's name says 'sft'"),
    ],
)
def test_a_fault_in_a_stage_is_refused_by_file_entry_and_value(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        load_stage("sft", "tiny", written_stage(tmp_path, **changes))
    assert "sft.yaml" in str(caught.value)


def test_no_value_is_said_twice() -> None:
    """What a stage file sets differs from what all stages share, and a profile's value from the one below."""
    common = yaml.safe_load((STAGE_FILES / "common.yaml").read_text())
    for stage in STAGES:
        own = yaml.safe_load((STAGE_FILES / f"{stage}.yaml").read_text())
        assert not {key: value for key, value in own.items() if common.get(key) == value}, stage
        for profile, below in (("tiny", "7b"), ("debug", "tiny")):
            lower = load_stage(stage, below).model_dump()  # type: ignore[arg-type]  # pairs of ProfileName
            for key, value in own["profiles"].get(profile, {}).items():
                assert lower[key] != value, (stage, profile, key)


def test_debug_says_only_in_what_it_is_smaller_than_tiny() -> None:
    debug, tiny = load_profile("debug"), load_profile("tiny")
    assert debug.mixtures == tiny.mixtures
    assert debug.base_model.make is not None and tiny.base_model.make is not None
    assert debug.base_model.make.hidden_size < tiny.base_model.make.hidden_size
    assert debug.base_model.make.attention_heads == tiny.base_model.make.attention_heads


# How a stage is run: a change of one of these makes nothing stale, and a stage that runs goes on under it.
RUN_ONLY = {
    "attention",
    "checkpoints",
    "description",
    "explosion",
    "gradient_checkpointing",
    "keep_checkpoints",
    "keep_milestones",
    "offload",
    "processes",
    "zero_stage",
}


@pytest.mark.parametrize("field", StageSpec.model_fields)
def test_a_stage_is_stale_exactly_by_what_its_outcome_depends_on(field: str) -> None:
    spec = load_stage("sft", "tiny")
    other = spec.model_copy(update={field: "another value"})
    assert (other.decisive() == spec.decisive()) is (field in RUN_ONLY)


def test_nothing_else_is_said_to_decide_nothing() -> None:
    assert undeciding_fields() == RUN_ONLY


def test_each_step_has_the_same_rows_on_any_number_of_ranks_that_they_can_be_dealt_out_to() -> None:
    spec = load_stage("sft", "7b").model_copy(update={"batch_rows": 24, "micro_batch": 2})
    assert spec.world_sizes() == [1, 2, 3, 4, 6, 12]
    for ranks in spec.world_sizes():
        assert spec.accumulation(ranks) * ranks * spec.micro_batch == 24
    with pytest.raises(ConfigurationError, match=r"batch_rows 24 .* to 5 ranks; possible are \[1, 2, 3, 4"):
        spec.accumulation(5)


def test_a_profile_may_change_one_limit_of_several() -> None:
    tiny, large = load_stage("sft", "tiny").explosion, load_stage("sft", "7b").explosion
    assert tiny is not None and large is not None
    assert tiny == large.model_copy(update={"window": tiny.window})
    assert tiny.window < large.window


def test_a_curriculum_is_read_from_a_file(tmp_path: Path) -> None:
    spec = load_stage("sft", "tiny", written_stage(tmp_path, curriculum={"until_share": 0.5}))
    assert spec.curriculum == Curriculum(until_share=0.5)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"hidden_size": 36}, "hidden_size 36 must be an even multiple of attention_heads 4"),
        ({"key_value_heads": 3}, "attention_heads 4 must be a multiple of key_value_heads 3"),
    ],
)
def test_a_backbone_that_cannot_be_built_is_refused(sizes: dict[str, int], said: str) -> None:
    make = load_profile("debug").base_model.make
    assert make is not None
    with pytest.raises(ValueError, match=said):
        TinyBackbone.model_validate(make.model_dump() | sizes)


def test_the_published_base_model_is_named_by_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_profile("7b").base_model
    monkeypatch.setenv("VOXLINE_BASE_MODEL", str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match=r"absent.*has no config\.json"):
        base_model_directory(settings)
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setenv("VOXLINE_BASE_MODEL", str(tmp_path))
    assert base_model_directory(settings) == tmp_path


def test_a_base_model_of_another_size_than_the_profiles_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXLINE_BASE_MODEL", str(tmp_path))
    (tmp_path / "config.json").write_text('{"hidden_size": 3584}')
    check_size(load_profile("7b").base_model)
    check_size(load_profile("tiny").base_model)
    with pytest.raises(ConfigurationError, match="hidden_size 3584; the profile is for 896"):
        check_size(load_profile("0.5b").base_model)
    with pytest.raises(ValueError, match="give 'hidden_size' with 'directory' only"):
        BaseModelSettings(make=load_profile("debug").base_model.make, hidden_size=32)


@pytest.mark.parametrize(
    ("mixture", "said"),
    [
        (
            [{"task": "asr", "ratio": 1, "where": [{"field": "snr", "op": "ge", "value": 3}]}],
            "mixtures.pretraining.0.where.0.field: there is no such field; there are corpus,",
        ),
        (
            [{"task": "asr", "ration": 1}],
            "mixtures.pretraining.0: unknown key 'ration'; allowed are task, corpus, file, ratio",
        ),
        ({"path": "m.yaml"}, "mixtures.pretraining: unknown key 'path'; allowed are file, root"),
        (3, "mixtures.pretraining: wanted is a list of entries, or the key file with"),
        (
            [{"task": "asr", "ratio": 1, "where": {"field": "mos", "op": "ge", "value": 3}}],
            "mixtures.pretraining.0.where: wanted is a list (got {",
        ),
        (
            [{"task": "asr", "ratio": 1, "where": [{"field": "mos", "op": "ge", "value": None}]}],
            "mixtures.pretraining.0.where.0.value: wanted is a text, a number, true or false, or a list of",
        ),
        (
            [{"task": "asr", "ratio": 1, "weight_by": {"field": "mos"}}],
            "mixtures.pretraining.0.weight_by: 'by' says of which kind it is, and is missing (got",
        ),
        (
            [{"task": "asr", "ratio": 1, "weight_by": {"by": "mos", "field": "mos"}}],
            "mixtures.pretraining.0.weight_by: 'by' is 'mos'; it may be 'value', 'map', 'temperature'",
        ),
    ],
)
def test_a_fault_in_a_mixture_is_told_once_and_in_words_of_the_file(
    tmp_path: Path, mixture: object, said: str
) -> None:
    shutil.copytree(STAGE_FILES.parent / "profiles", tmp_path / "profiles")
    path = tmp_path / "profiles" / "tiny.yaml"
    document = yaml.safe_load(path.read_text())
    document["mixtures"]["pretraining"] = mixture
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigurationError) as caught:
        load_profile("tiny", path.parent)
    assert f"tiny.yaml: {said}" in str(caught.value)
    assert "; mixtures" not in str(caught.value)


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOXLINE_BASE_MODEL", raising=False)
    with pytest.raises(ConfigurationError, match=r"names \$VOXLINE_BASE_MODEL, which is not set; set the"):
        base_model_directory(load_profile("7b").base_model)
