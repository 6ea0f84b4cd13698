"""Where training starts with imported weights: after the stages that made their modules, with their audio tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from upstream_weights import (
    AUDIO_CODES,
    rewrite,
    settings_of,
    write_audio_tokenizer,
    write_qwen,
)

from assets.base_model import source_digest
from assets.outputs import Outputs
from assets.stages import passed_over
from models.tokenizers import load_audio_tokenizer
from training_jobs import fit_tokenizer
from training_jobs.import_weights import import_weights
from training_jobs.imported import (
    IMPORTED_FILE,
    imported_tokenizer,
    is_passed_over,
    unknown_audio_tokens,
)
from training_jobs.jobs import FitTokenizerJob, read_result, write_result
from training_jobs.profile import AudioTokenizerSettings, load_profile
from training_jobs.reporting import Reporter
from training_jobs.run_check import check_run
from training_jobs.spec import STAGES, load_stage
from validation.errors import ConfigurationError, UserError

SILENT = Reporter(lambda line: None)


def test_modules_want_a_stage_to_start_at(
    tmp_path: Path, boost: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    with pytest.raises(UserError, match=r"10 MCTP modules.*--start-at multi_mctp or sft.*--modules 0"):
        import_weights(boost[0], tmp_path, "boost")
    with pytest.raises(
        UserError, match=r"3 MCTP modules of .* are kept.*--start-at multi_mctp\).*--modules 0"
    ):
        import_weights(boost[0], tmp_path, "boost", modules=3)
    for start in ("text_audio_alignment", "single_mctp"):
        with pytest.raises(
            UserError, match=rf"--start-at {start}: .* and 10 of .* possible .* multi_mctp or sft"
        ):
            import_weights(boost[0], tmp_path, "boost", start_at=start)
    with pytest.raises(UserError, match=r"--start-at sft: .* 10 to 10 .* and 3 of .* --start-at multi_mctp"):
        import_weights(boost[0], tmp_path, "boost", modules=3, start_at="sft")


def test_stages_before_the_start_are_passed_over(
    tmp_path: Path, boost: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    import_weights(boost[0], tmp_path, "boost", start_at="sft")
    settings = settings_of(tmp_path / "weights" / "boost")
    assert [stage for stage in STAGES if not is_passed_over(settings, stage)] == ["sft"]
    outputs = Outputs(tmp_path / "training")
    base = outputs.directory("base_model", "b" * 64)
    base.mkdir(parents=True)
    write_result(base, {"model_digest": "d"})
    outputs.publish("base_model", "b" * 64)
    for stage in STAGES[:3]:
        passed_over(outputs, stage)
    start = outputs.present("multi_mctp")
    assert (start.asset, start.inputs, start.path) == ("base_model", "b" * 64, base)


def test_a_start_that_has_too_few_modules_is_refused_before_the_run(
    tmp_path: Path, boost: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    profile, specs = load_profile("tiny"), [load_stage(stage, "tiny") for stage in STAGES]
    write_audio_tokenizer(boost[0] / "audio_tokenizer")
    rewrite(boost[0] / "config.json", max_position_embeddings=32_768)

    def check(directory: Path) -> None:
        check_run(profile.model_copy(update={"base_model": settings_of(directory)}), specs)

    for name, start, modules in (("sft", "sft", None), ("multi", "multi_mctp", None), ("none", None, 0)):
        import_weights(boost[0], tmp_path, name, modules, start)
        check(tmp_path / "weights" / name)
    import_weights(boost[0], tmp_path, "early", start_at="sft")
    rewrite(tmp_path / "weights" / "early" / IMPORTED_FILE, start_at="single_mctp")
    for directory, stage in (
        (tmp_path / "weights" / "early", "single_mctp"),
        (boost[0], "text_audio_alignment"),
    ):
        with pytest.raises(
            ConfigurationError, match=rf"stage {stage}: mctp_modules \d is less than the 10 of base_"
        ):
            check(directory)


def test_the_audio_tokenizer_of_the_weights_comes_along_and_is_the_one_that_is_used(tmp_path: Path) -> None:
    source = write_qwen(tmp_path / "qwen", codes=AUDIO_CODES)
    digest = load_audio_tokenizer(write_audio_tokenizer(source / "audio_tokenizer")).digest
    assert import_weights(source, tmp_path, "base", start_at="single_mctp").audio_tokenizer == digest
    settings, known = settings_of(tmp_path / "weights" / "base"), tmp_path / "known.json"
    assert unknown_audio_tokens(settings) is None
    found = imported_tokenizer(settings)
    assert found is not None and found[1] == digest
    of_profile = AudioTokenizerSettings(
        kind="mel_kmeans", codes=AUDIO_CODES, max_training_seconds=1, iterations=1, seed=0
    )

    def take(codes: int) -> dict[str, Any] | None:
        job = FitTokenizerJob(
            lake="",
            corpora=[],
            settings=of_profile.model_copy(update={"codes": codes}),
            given=found[0],
            output_dir=tmp_path / "taken",
        )
        fit_tokenizer.run(job, SILENT)
        return read_result(tmp_path / "taken")

    (tmp_path / "taken").mkdir()
    with pytest.raises(UserError, match=rf"has {AUDIO_CODES} codes, .*codes is 512"):
        take(512)
    result = take(AUDIO_CODES)
    assert result is not None and result["tokenizer_digest"] == digest
    assert load_audio_tokenizer(tmp_path / "taken" / "tokenizer").digest == digest

    first = source_digest(settings, known)
    (found[0] / "config.json").write_text("{}")
    with pytest.raises(ConfigurationError, match=r"audio_tokenizer/config\.json has changed since"):
        source_digest(settings, known)
    assert len(first) == 64


def test_audio_tokens_without_their_tokenizer_are_not_gone_on_with(tmp_path: Path) -> None:
    source = write_qwen(tmp_path / "qwen", codes=AUDIO_CODES)
    import_weights(source, tmp_path, "base", start_at="single_mctp")
    settings = settings_of(tmp_path / "weights" / "base")
    profile, specs = load_profile("debug"), [load_stage(stage, "debug") for stage in STAGES]
    with pytest.raises(ConfigurationError, match=r"know audio tokens, but .* not there.*--audio-tokenizer"):
        check_run(profile.model_copy(update={"base_model": settings}), specs)
    other = write_audio_tokenizer(tmp_path / "other", codes=8)
    with pytest.raises(UserError, match=rf"makes 8 audio tokens, but .* has {AUDIO_CODES}"):
        import_weights(source, tmp_path, "base", start_at="single_mctp", audio_tokenizer=other)
    import_weights(source, tmp_path, "all")
    assert unknown_audio_tokens(settings_of(tmp_path / "weights" / "all")) is None
