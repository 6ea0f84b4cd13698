"""Small models with random weights, and the reference implementation's outputs where they are at hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from models import MctpConfig, MctpForCausalLM

GOLDENS = Path(__file__).parents[2] / "../shared/goldens"
SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
}
ModelFactory = Callable[..., MctpForCausalLM]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def goldens() -> Path:
    if not GOLDENS.is_dir():
        pytest.skip("no goldens beside the repository")
    return GOLDENS


@pytest.fixture
def make_model() -> ModelFactory:
    """Build a model with ``backbone`` layers and ``modules`` modules, every tensor random."""

    def build(
        backbone: int = 2, modules: int = 3, attention: str = "sdpa", seed: int = 0, **sizes: Any
    ) -> MctpForCausalLM:
        torch.manual_seed(seed)
        config = MctpConfig(
            **{**SIZES, **sizes}, num_hidden_layers=backbone + modules, num_nextn_predict_layers=modules
        )
        model = MctpForCausalLM._from_config(config, attn_implementation=attention)
        # Norms of one and biases of zero would hide a swapped pair; sharper weights make the tokens matter.
        for name, parameter in model.named_parameters():
            torch.nn.init.normal_(parameter, 1.0 if "norm" in name else 0.0, 0.2)
        return model.eval()

    return build


@pytest.fixture
def load_golden(goldens: Path) -> Callable[[str, str], tuple[MctpForCausalLM, dict[str, Any]]]:
    """The reference's weights in our model, and what the reference made of them."""

    def load(name: str, attention: str = "sdpa") -> tuple[MctpForCausalLM, dict[str, Any]]:
        golden = json.loads((goldens / f"{name}.json").read_text())
        model = MctpForCausalLM._from_config(MctpConfig(**golden["config"]), attn_implementation=attention)
        model.load_state_dict(load_file(goldens / f"{name}.safetensors"))
        return model, golden

    return load
