"""What a checkpoint must hold is known without torch, agrees with the model, and files that are not whole are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models import MctpConfig, save_model
from models.errors import CheckpointError
from models.published import MCTP, expected_tensors, modules_of, unsupported, with_modules
from models.tensor_files import copy_tensors, stored_tensors


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("modules", [0, 1, 10])
def test_expected_tensors_are_the_models(make_model: Any, tmp_path: Path, modules: int, tied: bool) -> None:
    model = make_model(modules=modules, tie_word_embeddings=tied)
    save_model(model, tmp_path, max_shard_bytes=20_000)
    config = json.loads((tmp_path / "config.json").read_text())
    assert modules_of(config) == modules
    state = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if tied:
        del state["lm_head.weight"]
    assert expected_tensors(config) == state
    stored = stored_tensors(tmp_path)
    assert {name: tensor.shape for name, tensor in stored.items()} == state
    assert MctpConfig.model_type == MCTP


def test_fewer_modules_are_a_smaller_checkpoint() -> None:
    sizes = dict.fromkeys(
        ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"), 8
    )
    config = {**sizes, "model_type": MCTP, "num_hidden_layers": 13, "num_nextn_predict_layers": 10}
    fewer = with_modules(config, 3)
    names = expected_tensors(fewer).keys()
    assert names < expected_tensors(config).keys()
    assert "model.layers.5.mlp.up_proj.weight" in names and "model.layers.6.mlp.up_proj.weight" not in names
    with pytest.raises(CheckpointError, match=r"13 MCTP modules .* of 13 layers"):
        expected_tensors({**config, "num_nextn_predict_layers": 13})
    with pytest.raises(CheckpointError, match="'hidden_size': None"):
        expected_tensors({**config, "hidden_size": None})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "llama"}, "'llama'"),
        ({"model_type": "qwen2_mtp_sensevoice"}, "VITA-Audio-Plus"),
        ({"model_type": "qwen2_mtp", "architectures": ["Qwen2MTPSenseVoiceForCausalLM"]}, "VITA-Audio-Plus"),
        ({"model_type": "qwen2", "use_sliding_window": True}, "use_sliding_window"),
        ({"model_type": "qwen2"}, None),
        ({"model_type": "qwen2_mtp"}, None),
    ],
)
def test_other_architectures_are_refused(config: dict[str, Any], said: str | None) -> None:
    fault = unsupported(config)
    assert (fault is None) if said is None else (fault is not None and said in fault)


def test_tensors_are_copied_to_the_bit(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "a": torch.randn(3, 5, generator=generator),
        "b": torch.randn(700_000, generator=generator).bfloat16(),  # more than a block
        "c": torch.arange(3),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    stored = stored_tensors(tmp_path)
    copy_tensors({name: stored[name] for name in ("c", "b")}, tmp_path / "copy.safetensors")
    copied = load_file(tmp_path / "copy.safetensors")
    assert copied.keys() == {"b", "c"}
    assert all(torch.equal(copied[name], tensors[name]) for name in copied)


def test_files_that_are_not_whole_are_named(make_model: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor"):
        stored_tensors(tmp_path)
    save_model(make_model(), tmp_path, max_shard_bytes=20_000)
    first = min(tmp_path.glob("*.safetensors"))
    whole = first.read_bytes()
    for broken, said in (
        (whole[:-1], "it is not whole"),
        (whole + b"x", "it is not whole"),
        (b"", "no whole safetensors file"),
        (b"\xff" * 16, "no whole safetensors file"),
        ((2).to_bytes(8, "little") + b"[]", "header cannot be read"),
    ):
        first.write_bytes(broken)
        with pytest.raises(CheckpointError, match=said) as caught:
            stored_tensors(tmp_path)
        assert first.name in str(caught.value)
    first.unlink()
    with pytest.raises(CheckpointError, match=f"names {first.name}, which is not there"):
        stored_tensors(tmp_path)
    first.write_bytes(whole)
    index = tmp_path / "model.safetensors.index.json"
    document = json.loads(index.read_text())
    document["weight_map"]["model.layers.99.mlp.up_proj.weight"] = first.name
    index.write_text(json.dumps(document))
    with pytest.raises(CheckpointError, match=r"layers\.99.*does not hold it"):
        stored_tensors(tmp_path)
    index.write_text(json.dumps({"weight_map": {"a": "../a.safetensors"}}))
    with pytest.raises(CheckpointError, match="names of files beside it"):
        stored_tensors(tmp_path)
