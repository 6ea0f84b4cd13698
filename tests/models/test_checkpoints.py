"""Checkpoints survive the disk, stay readable upstream, and are refused when they are not whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from models import MctpConfig, MctpForCausalLM, extend_model, load_model, mctp_parameter_names, save_model
from models.checkpoints import CheckpointError

IDS = torch.randint(0, 64, (1, 16), generator=torch.Generator().manual_seed(0))


def rewrite(directory: Path, **changes: Any) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("tied", [False, True])
def test_a_checkpoint_comes_back_with_the_same_loss(make_model: Any, tmp_path: Path, tied: bool) -> None:
    model = make_model(tie_word_embeddings=tied)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert not loaded.training
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded(IDS, labels=IDS).loss, model(IDS, labels=IDS).loss)


def test_the_reference_s_tensors_load_and_are_written_under_the_same_names(
    goldens: Path, tmp_path: Path
) -> None:
    golden = json.loads((goldens / "mtp10.json").read_text())
    source = tmp_path / "upstream"
    source.mkdir()
    keys = {"model_type": "qwen2_mtp", "architectures": ["Qwen2MTPForCausalLM"], "rope_scaling": None}
    (source / "config.json").write_text(json.dumps(golden["config"] | keys))
    tensors = load_file(goldens / "mtp10.safetensors")
    save_file(tensors, source / "model.safetensors", metadata={"format": "pt"})
    model = load_model(source)
    row = golden["losses"][0]
    loss = model(torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])).loss.item()
    assert loss == pytest.approx(row["loss"], abs=1e-4)
    save_model(model, tmp_path / "ours")
    ours = load_file(tmp_path / "ours" / "model.safetensors")
    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: tensor.shape for name, tensor in tensors.items()
    }
    written = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert written["architectures"] == ["Qwen2MTPForCausalLM"]
    assert {key: written[key] for key in golden["config"]} == golden["config"]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("modules", [0, 1, 3, 10])
def test_sharded_weights_come_back_to_the_bit_under_the_same_names(
    make_model: Any, tmp_path: Path, modules: int, tied: bool
) -> None:
    model = make_model(modules=modules, tie_word_embeddings=tied)
    save_model(model, tmp_path, max_shard_bytes=20_000)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) > 1
    assert {path.name for path in files} == set(index["weight_map"].values())
    state = model.state_dict()
    if tied:
        del state["lm_head.weight"]
    assert index["weight_map"].keys() == state.keys()
    for path in files:
        for name, tensor in load_file(path).items():
            assert index["weight_map"][name] == path.name
            assert torch.equal(tensor, state[name])
    for loaded in (load_model(tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path)):
        assert loaded.config.num_nextn_predict_layers == modules
        again = loaded.state_dict()
        assert again.keys() == model.state_dict().keys()
        assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("tied", [False, True])
def test_gathered_weights_take_the_place_of_the_models(make_model: Any, tmp_path: Path, tied: bool) -> None:
    model = make_model(seed=0, tie_word_embeddings=tied)
    gathered = {
        name: tensor.clone()
        for name, tensor in make_model(seed=1, tie_word_embeddings=tied).state_dict().items()
    }
    save_model(model, tmp_path, state_dict=gathered)
    again = load_model(tmp_path).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in gathered.items())
    assert ("lm_head.weight" in load_file(tmp_path / "model.safetensors")) is not tied


def test_config_json_says_what_upstream_s_transformers_reads_and_keeps_what_we_do_not_know(
    make_model: Any, tmp_path: Path
) -> None:
    save_model(make_model(modules=0).bfloat16(), tmp_path / "one")
    code = {"AutoConfig": "configuration_qwen2.Qwen2MTPConfig"}
    rewrite(tmp_path / "one", speech_token_offset=151685, auto_map=code)
    for model in (
        load_model(tmp_path / "one", dtype=None),
        AutoModelForCausalLM.from_pretrained(tmp_path / "one", trust_remote_code=False),
    ):
        model.save_pretrained(tmp_path / "two")
        written = json.loads((tmp_path / "two" / "config.json").read_text())
        assert written["architectures"] == ["Qwen2MTPForCausalLM"]
        assert written["torch_dtype"] == written["dtype"] == "bfloat16"
        # Upstream's class takes one module where the key is missing.
        assert written["num_nextn_predict_layers"] == 0
        assert written["speech_token_offset"] == 151685
        assert "auto_map" not in written


def test_scaled_rotary_positions_survive_under_both_generations_of_keys(tmp_path: Path) -> None:
    scaled = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
    config = MctpConfig(rope_scaling=dict(scaled), rope_theta=1e6)
    config.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["rope_theta"] == 1e6
    assert written["rope_scaling"] == scaled
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == config.rope_parameters


def test_transformers_auto_classes_open_our_checkpoints(make_model: Any, tmp_path: Path) -> None:
    save_model(make_model(), tmp_path)
    assert isinstance(AutoModelForCausalLM.from_pretrained(tmp_path), MctpForCausalLM)


def test_stored_precision_is_kept_on_request(make_model: Any, tmp_path: Path) -> None:
    save_model(make_model().bfloat16(), tmp_path)
    assert load_model(tmp_path, dtype=None).dtype == torch.bfloat16
    assert load_model(tmp_path).dtype == torch.float32


def test_a_missing_tensor_is_named_instead_of_filled_in(make_model: Any, tmp_path: Path) -> None:
    save_model(make_model(), tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["mtp_projs.1.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"mtp_projs\.1\.weight missing"):
        load_model(tmp_path)
    with pytest.raises(CheckpointError, match=r"mtp_projs\.1\.weight missing"):
        extend_model(tmp_path, 4)


def test_a_tensor_too_many_is_named(make_model: Any, tmp_path: Path) -> None:
    save_model(make_model(), tmp_path)
    rewrite(tmp_path, num_nextn_predict_layers=2, num_hidden_layers=5)
    with pytest.raises(CheckpointError, match=r"no place for mtp_embed_norms\.2\.weight"):
        load_model(tmp_path)


def test_shapes_that_differ_from_the_configuration_are_named(make_model: Any, tmp_path: Path) -> None:
    save_model(make_model(), tmp_path)
    rewrite(tmp_path, vocab_size=72)
    with pytest.raises(CheckpointError, match=r"\(64, 32\).*\(72, 32\)"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [(None, "no config.json"), ("{", "not JSON"), ('{"model_type": "qwen2_mtp_sensevoice"}', "Plus")],
)
def test_directories_that_hold_no_checkpoint_are_refused(
    tmp_path: Path, config: str | None, message: str
) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path)


def test_a_configuration_without_weights_is_refused(make_model: Any, tmp_path: Path) -> None:
    save_model(make_model(), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(tmp_path)


def test_a_configuration_that_leaves_no_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="num_nextn_predict_layers is 3"):
        MctpConfig(num_hidden_layers=3, num_nextn_predict_layers=3)
    with pytest.raises(ValueError, match="sliding"):
        MctpConfig(use_sliding_window=True)


@pytest.fixture
def qwen(tmp_path: Path) -> Path:
    """A plain Qwen2 as it is published."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=60, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(tmp_path / "qwen")
    return tmp_path / "qwen"


def test_a_plain_qwen_computes_the_same_here(qwen: Path) -> None:
    ids = IDS % 60
    theirs = Qwen2ForCausalLM.from_pretrained(qwen)(ids, labels=ids)
    ours = extend_model(qwen, 0)
    assert ours(ids, labels=ids).loss.item() == pytest.approx(theirs.loss.item(), abs=1e-5)
    torch.testing.assert_close(ours(ids).logits_BTV, theirs.logits)


def test_the_vocabulary_grows_to_a_multiple_of_eight_and_keeps_its_rows(qwen: Path) -> None:
    before, after = extend_model(qwen, 0), extend_model(qwen, 0, vocabulary_size=70, seed=1)
    assert after.config.vocab_size == 72
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert after.get_parameter(name).shape == (72, 32)
        assert torch.equal(after.get_parameter(name)[:60], before.get_parameter(name))
    assert extend_model(qwen, 0, vocabulary_size=50).config.vocab_size == 60


@pytest.mark.parametrize("tied", [False, True])
def test_padding_rows_of_the_embedding_are_drawn_anew_with_the_new_ones(tmp_path: Path, tied: bool) -> None:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=64, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, tie_word_embeddings=tied,
    )  # fmt: skip
    source = Qwen2ForCausalLM(config)
    with torch.no_grad():  # fifty tokens, and padding that nobody trained
        source.model.embed_tokens.weight[50:] = 1e3
        source.lm_head.weight[50:] = 1e3
    source.save_pretrained(tmp_path)
    trained = source.state_dict()
    for wanted, rows in ((60, 64), (70, 72)):
        grown = extend_model(tmp_path, 0, vocabulary_size=wanted, text_vocabulary=50)
        assert grown.config.vocab_size == rows
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            matrix = grown.get_parameter(name)
            assert matrix.shape == (rows, 8)
            assert torch.equal(matrix[:50], trained[name][:50])
            mean = trained[name][:50].mean(dim=0)
            torch.testing.assert_close(matrix[50:], mean.expand(rows - 50, 8), atol=1e-4, rtol=0)
    # What has all its tokens already is left as it is.
    same = extend_model(tmp_path, 0, vocabulary_size=50, text_vocabulary=50)
    assert torch.equal(same.lm_head.weight, trained["lm_head.weight"])


def test_new_embeddings_depend_on_the_seed_alone(qwen: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = extend_model(qwen, 0, 70, seed=1)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    two, other = extend_model(qwen, 0, 70, seed=1), extend_model(qwen, 0, 70, seed=2)
    assert torch.equal(one.lm_head.weight, two.lm_head.weight)
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)


def test_the_first_module_s_layer_copies_the_backbone_s_last(qwen: Path) -> None:
    model = extend_model(qwen, 1)
    assert (model.config.num_hidden_layers, model.config.backbone_layers) == (3, 2)
    layers = model.model.layers
    for one, two in zip(layers[2].parameters(), layers[1].parameters(), strict=True):
        assert torch.equal(one, two)
    assert torch.isfinite(model(IDS % 60, labels=IDS % 60).loss)


def test_further_modules_copy_the_one_before_and_leave_it_alone(make_model: Any, tmp_path: Path) -> None:
    source = make_model(modules=1)
    save_model(source, tmp_path)
    model = extend_model(tmp_path, 4)
    old, new = source.state_dict(), model.state_dict()
    assert all(torch.equal(new[name], tensor) for name, tensor in old.items())
    for name in (name for name in old if name.startswith("mtp_")):
        for index in range(1, 4):
            assert torch.equal(new[name.replace(".0.", f".{index}.")], old[name])
    for name in (name for name in old if name.startswith("model.layers.2.")):
        for index in range(3, 6):
            assert torch.equal(new[name.replace(".2.", f".{index}.", 1)], old[name])


def test_extending_never_drops_modules(make_model: Any, tmp_path: Path) -> None:
    save_model(make_model(modules=3), tmp_path)
    assert extend_model(tmp_path, 3).config.num_nextn_predict_layers == 3
    with pytest.raises(CheckpointError, match="has 3 MCTP modules, 1 were asked for"):
        extend_model(tmp_path, 1)


def test_mctp_parameters_are_the_modules_layers_projections_and_norms(make_model: Any) -> None:
    model = make_model(backbone=2, modules=3)
    names = mctp_parameter_names(model)
    others = [name for name, _ in model.named_parameters() if name not in names]
    assert sorted({name.split(".")[2] for name in names if name.startswith("model.")}) == ["2", "3", "4"]
    assert {name.split(".")[0] for name in names} == {
        "model",
        "mtp_projs",
        "mtp_embed_norms",
        "mtp_hidden_norms",
    }
    assert {name.split(".")[2] for name in others if ".layers." in name} == {"0", "1"}
