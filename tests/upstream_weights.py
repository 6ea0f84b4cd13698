"""Directories as upstream and Qwen publish them, of the golden weights or random ones, and code like upstream's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

from models import extend_text_tokenizer, make_byte_tokenizer
from models.tokenizers import MelKmeansTokenizer
from training_jobs.profile import BaseModelSettings

AUDIO_CODES = (
    41  # 259 of the byte tokenizer, 20 special ones and these are the 320 rows of the golden embedding
)
CARD = "---\nlicense: apache-2.0\nbase_model:\n- Qwen/Qwen2.5-7B-Instruct\n---\n# A model\n"

# As upstream's two files are, with its names of classes and tensors.
CONFIGURATION = """
from transformers import Qwen2Config


class Qwen2MTPConfig(Qwen2Config):
    model_type = "qwen2_mtp"
    num_nextn_predict_layers: int = 1
    mtp_loss_weight: float = 1.0
"""
MODELING = """
from torch import nn
from transformers.models.qwen2.modeling_qwen2 import Qwen2Model, Qwen2PreTrainedModel, Qwen2RMSNorm

from .configuration_qwen2 import Qwen2MTPConfig


class Qwen2MTPForCausalLM(Qwen2PreTrainedModel):
    config_class = Qwen2MTPConfig

    def __init__(self, config):
        super().__init__(config)
        width, eps, modules = config.hidden_size, config.rms_norm_eps, range(config.num_nextn_predict_layers)
        self.model = Qwen2Model(config)
        self.lm_head = nn.Linear(width, config.vocab_size, bias=False)
        self.mtp_projs = nn.ModuleList([nn.Linear(2 * width, width, bias=False) for _ in modules])
        self.mtp_embed_norms = nn.ModuleList([Qwen2RMSNorm(width, eps=eps) for _ in modules])
        self.mtp_hidden_norms = nn.ModuleList([Qwen2RMSNorm(width, eps=eps) for _ in modules])
        self.post_init()
"""


def write_mctp(goldens: Path, directory: Path, name: str = "mtp10") -> dict[str, torch.Tensor]:
    """The golden weights as a published directory; gives its tensors."""
    golden = json.loads((goldens / f"{name}.json").read_text())
    directory.mkdir(parents=True)
    config = golden["config"] | {
        "model_type": "qwen2_mtp",
        "architectures": ["Qwen2MTPForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_qwen2.Qwen2MTPConfig",
            "AutoModelForCausalLM": "modeling_qwen2.Qwen2MTPForCausalLM",
        },
        "rope_scaling": None,
        "torch_dtype": "float32",
        "transformers_version": "4.48.3",
    }
    (directory / "config.json").write_text(json.dumps(config))
    tensors = load_file(goldens / f"{name}.safetensors")
    names = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-{number:05}-of-00002.safetensors"
        save_file({one: tensors[one] for one in part}, directory / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    extend_text_tokenizer(make_byte_tokenizer(), AUDIO_CODES).save_pretrained(directory)
    (directory / "README.md").write_text(CARD)
    write_code(directory)
    return tensors


def write_qwen(directory: Path, codes: int = 0, **changes: Any) -> Path:
    """A plain Qwen2 with the byte tokenizer, its embedding padded to 264 rows; with so many audio tokens, to 320."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab_size": 320 if codes else 264,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 128,
    }
    Qwen2ForCausalLM(Qwen2Config(**{**sizes, **changes})).save_pretrained(directory)
    tokenizer = make_byte_tokenizer()
    (extend_text_tokenizer(tokenizer, codes) if codes else tokenizer).save_pretrained(directory)
    return directory


def write_audio_tokenizer(directory: Path, codes: int = AUDIO_CODES) -> Path:
    """A ``mel_kmeans`` tokenizer, of noise."""
    noise = np.random.default_rng(0).normal(0, 0.1, 176_400).astype(np.float32)
    tokenizer = MelKmeansTokenizer.train(
        [(noise, 22_050)], codes=codes, iterations=1, seed=0, sample_rate=22_050
    )
    directory.mkdir(parents=True)
    tokenizer.save(directory)
    return directory


def write_code(directory: Path) -> Path:
    """Code with upstream's names, which transformers loads with ``trust_remote_code``."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "configuration_qwen2.py").write_text(CONFIGURATION)
    (directory / "modeling_qwen2.py").write_text(MODELING)
    return directory


def tensors_of(directory: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint's files, by name."""
    return {
        name: tensor for path in directory.glob("*.safetensors") for name, tensor in load_file(path).items()
    }


def assert_same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> None:
    """The same names, and bit for bit the same tensors."""
    assert one.keys() == two.keys()
    assert not [name for name, tensor in one.items() if not torch.equal(tensor, two[name])]


def rewrite(path: Path, **changes: Any) -> None:
    """A JSON file with other values."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def settings_of(directory: Path) -> BaseModelSettings:
    """A base model that lies there."""
    return BaseModelSettings(directory=str(directory))
