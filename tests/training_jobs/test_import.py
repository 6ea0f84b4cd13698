"""Published weights come into a home whole, or not at all and with the reason; training starts where it was said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from upstream_weights import (
    AUDIO_CODES,
    assert_same,
    rewrite,
    settings_of,
    tensors_of,
    write_qwen,
)

from assets.base_model import source_digest
from models import load_model
from models.errors import ModelError
from training_jobs import base_model
from training_jobs.import_weights import WeightsImportError, import_weights
from training_jobs.imported import (
    IMPORTED_FILE,
    read_imported,
    starting_stage,
)
from training_jobs.jobs import BaseModelJob, read_result
from training_jobs.profile import BaseModelSettings
from training_jobs.reporting import Reporter
from training_jobs.text_vocabulary import Vocabulary, vocabulary_of
from validation.errors import ConfigurationError, UserError

SILENT = Reporter(lambda line: None)


def make_base(settings: BaseModelSettings, output: Path, codes: int = AUDIO_CODES) -> dict[str, Any]:
    base_model.run(BaseModelJob(settings=settings, audio_codes=codes, seed=1, output_dir=output), SILENT)
    result = read_result(output)
    assert result is not None
    return result


def test_upstream_s_weights_are_imported_to_the_bit_and_are_the_base_model(
    tmp_path: Path, boost: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    source, tensors = boost
    done = import_weights(source, tmp_path / "home", "boost", start_at="sft")
    directory = tmp_path / "home" / "weights" / "boost"
    assert read_imported(directory) == done
    assert (done.kind, done.modules, done.modules_left_out, done.start_at) == ("qwen2_mtp", 10, 0, "sft")
    assert (done.tokens, done.audio_codes, done.vocabulary_rows) == (320, AUDIO_CODES, 320)
    assert done.parameters == sum(tensor.numel() for tensor in tensors.values())
    assert done.licence == "apache-2.0"
    for path in source.iterdir():
        assert (directory / path.name).read_bytes() == path.read_bytes()
    assert vocabulary_of(directory) == Vocabulary(320, AUDIO_CODES, 279)
    result = make_base(settings_of(directory), tmp_path / "base")
    assert result["mctp_modules"] == 10
    assert (result["source"], result["licence"]) == (str(source), "apache-2.0")
    assert result["imported_digest"] == done.digest
    assert_same(tensors_of(tmp_path / "base" / "model"), tensors)


def test_modules_are_left_out_where_it_was_said(
    tmp_path: Path, boost: tuple[Path, dict[str, torch.Tensor]]
) -> None:
    source, tensors = boost
    for kept in (0, 3):
        done = import_weights(
            source, tmp_path, f"m{kept}", modules=kept, start_at="multi_mctp" if kept else None
        )
        assert (done.modules, done.modules_left_out) == (kept, 10 - kept)
        model = load_model(tmp_path / "weights" / f"m{kept}")
        assert model.config.num_nextn_predict_layers == kept
        assert model.config.backbone_layers == 3
        state = model.state_dict()
        assert_same(state, {name: tensors[name] for name in state})
        assert done.parameters == sum(tensor.numel() for tensor in state.values())


@pytest.mark.parametrize("tied", [False, True])
def test_a_plain_qwen_is_imported_and_its_padding_is_drawn_anew(tmp_path: Path, tied: bool) -> None:
    source = write_qwen(tmp_path / "Qwen2.5", tie_word_embeddings=tied)
    done = import_weights(source, tmp_path, "qwen", licence="Qwen research")
    assert (done.kind, done.modules, done.start_at) == ("qwen2", 0, "text_audio_alignment")
    assert (done.tokens, done.audio_codes, done.vocabulary_rows) == (259, 0, 264)
    assert done.licence == "Qwen research"
    make_base(settings_of(tmp_path / "weights" / "qwen"), tmp_path / "base", codes=8)
    before, after = tensors_of(source), tensors_of(tmp_path / "base" / "model")
    assert before.keys() == after.keys()
    name = "model.embed_tokens.weight"
    assert after[name].shape == (288, 16)  # 259 + 20 + 8, to a multiple of eight
    assert torch.equal(after[name][:259], before[name][:259])
    assert not torch.equal(after[name][259:264], before[name][259:])


def test_the_same_again_is_no_fault_and_other_weights_under_its_name_are(tmp_path: Path) -> None:
    source = write_qwen(tmp_path / "qwen", codes=AUDIO_CODES)
    first = import_weights(source, tmp_path, "base")
    left = tmp_path / "weights" / ".base" / "left-by-a-kill"
    left.parent.mkdir()
    left.write_text("x")
    assert import_weights(source, tmp_path, "base") == first
    assert import_weights(source, tmp_path, "base", start_at="single_mctp").start_at == "single_mctp"
    assert starting_stage(settings_of(tmp_path / "weights" / "base")) == "single_mctp"
    assert import_weights(source, tmp_path, "base") == first
    other = write_qwen(tmp_path / "other", num_hidden_layers=1)
    with pytest.raises(UserError, match=r"holds other weights already, from .*qwen"):
        import_weights(other, tmp_path, "base")
    assert read_imported(tmp_path / "weights" / "base") == first
    assert [path.name for path in (tmp_path / "weights").iterdir()] == ["base"]
    (tmp_path / "weights" / "mine").mkdir()
    with pytest.raises(UserError, match=r"mine is there already, and no import"):
        import_weights(other, tmp_path, "mine")


def lose_a_tensor(directory: Path) -> None:
    tensors = tensors_of(directory)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, directory / "model.safetensors")


def add_a_tensor(directory: Path) -> None:
    save_file(
        {**tensors_of(directory), "audio_model.conv.weight": torch.zeros(2)}, directory / "model.safetensors"
    )


def store_as_integers(directory: Path) -> None:
    tensors = {name: tensor.to(torch.int8) for name, tensor in tensors_of(directory).items()}
    save_file(tensors, directory / "model.safetensors")


def cut_the_weights(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


def drop_the_tokenizer(directory: Path) -> None:
    (directory / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: rewrite(d / "config.json", model_type="qwen2_mtp_sensevoice"), r"VITA-Audio-Plus"),
        (lambda d: rewrite(d / "config.json", model_type="llama"), r"'llama'"),
        (
            lambda d: rewrite(d / "config.json", hidden_size=24),
            r"of another shape: .* by its config\.json \(264, 24\)",
        ),
        (
            lambda d: rewrite(d / "config.json", vocab_size=256),
            r"tokenizer has 259 tokens, .* 256 rows|shape",
        ),
        (lambda d: (d / "config.json").unlink(), r"no config\.json"),
        (lambda d: (d / "config.json").write_text("{"), r"not JSON"),
        (
            lambda d: (d / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n"),
            r"model\.safetensors is a pointer of Git LFS, 43 bytes: fetch",
        ),
        (lose_a_tensor, r"model\.layers\.1\.mlp\.up_proj\.weight missing"),
        (add_a_tensor, r"no place for audio_model\.conv\.weight"),
        (store_as_integers, r"stored as I8; allowed are BF16"),
        (cut_the_weights, r"model\.safetensors has \d+ bytes, but its header speaks of"),
        (drop_the_tokenizer, r"has no tokenizer\.json"),
        (lambda d: (d / "tokenizer.json").write_text("{}"), r"no tokenizer with a vocabulary"),
    ],
)
def test_what_cannot_be_trained_from_is_refused_and_leaves_nothing(
    tmp_path: Path, change: Callable[[Path], Any], said: str
) -> None:
    source = write_qwen(tmp_path / "qwen")
    change(source)
    with pytest.raises((UserError, ModelError), match=said):
        import_weights(source, tmp_path / "home", "base")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "../up"}, r"--as '\.\./up'"),
        ({"modules": 1}, r"--modules 1: .* has 0 MCTP modules; wanted are 0 to 0"),
        ({"start_at": "sft"}, "sft: that stage starts from 10 to 10 .* 0 of .* possible .* single_mctp"),
        ({"start_at": "single_mctp"}, "has no audio tokens; text_audio_alignment teaches them"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    source = write_qwen(tmp_path / "qwen")
    with pytest.raises(UserError, match=said):
        import_weights(source, tmp_path, **{"name": "base", **options})


def test_weights_that_change_after_the_import_are_refused(tmp_path: Path) -> None:
    import_weights(write_qwen(tmp_path / "qwen"), tmp_path, "base")
    directory, known = tmp_path / "weights" / "base", tmp_path / "known.json"
    first = source_digest(settings_of(directory), known)
    rewrite(directory / IMPORTED_FILE, source="elsewhere")
    assert source_digest(settings_of(directory), known) == first
    rewrite(directory / "config.json", rms_norm_eps=1.0)
    with pytest.raises(ConfigurationError, match=r"config\.json has changed since the weights were imported"):
        source_digest(settings_of(directory), known)
    rewrite(directory / IMPORTED_FILE, start_at="nowhere")
    with pytest.raises(ConfigurationError, match=r"imported\.json: start_at"):
        starting_stage(settings_of(directory))


def test_a_source_that_is_no_directory_is_told_from_one_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(WeightsImportError, match="typo is not there; wanted is a directory"):
        import_weights(tmp_path / "typo", tmp_path, "a")
    (tmp_path / "file").touch()
    with pytest.raises(WeightsImportError, match="file is a file; wanted is a directory"):
        import_weights(tmp_path / "file", tmp_path, "a")
    with pytest.raises(WeightsImportError, match="the first a letter or digit"):
        import_weights(tmp_path, tmp_path, "..")
