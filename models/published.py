"""What a published checkpoint must be for this model: known from its ``config.json``, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.errors import CheckpointError

PLAIN, MCTP = "qwen2", "qwen2_mtp"
# Sizes that the tensors follow from.
_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
)


def unsupported(config: Mapping[str, Any]) -> str | None:
    """Why a checkpoint with this configuration cannot be used here, in words; ``None`` where its kind is known.

    VITA-Audio-Plus is refused by name: its model type and its class name the encoder that it hears through.
    """
    kind = config.get("model_type")
    classes = config.get("architectures") or ()
    if "sensevoice" in f"{kind} {classes}".lower():
        return (
            f"model_type {kind!r} is VITA-Audio-Plus, which hears through a SenseVoice encoder in front of the "
            f"language model: another architecture. Qwen2.5 ({PLAIN!r}), VITA-Audio-Boost and VITA-Audio-Balance "
            f"({MCTP!r}) can be used"
        )
    if kind not in (PLAIN, MCTP):
        return f"model_type is {kind!r}, not {PLAIN!r} or {MCTP!r}"
    if config.get("use_sliding_window"):
        return "use_sliding_window is true; this model has full attention only"
    return None


def modules_of(config: Mapping[str, Any]) -> int:
    """MCTP modules of a checkpoint with this configuration."""
    return int(config.get("num_nextn_predict_layers", 0)) if config.get("model_type") == MCTP else 0


def expected_tensors(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all tensors, under upstream's names.

    Raises:
        CheckpointError: if the configuration does not give a size, or has no layer left for the backbone.
    """
    wrong = {name: config.get(name) for name in _SIZES if not _is_count(config.get(name))}
    if wrong:
        raise CheckpointError(f"its config.json gives {wrong}: each must be a whole number above 0")
    vocabulary, width, inner, layers, heads, key_heads = (int(config[name]) for name in _SIZES)
    modules = modules_of(config)
    if not 0 <= modules < layers:
        raise CheckpointError(
            f"its config.json gives {modules} MCTP modules (num_nextn_predict_layers) of {layers} layers "
            "(num_hidden_layers), which count the modules too: none are left for the backbone"
        )
    head_width = int(config.get("head_dim") or width // heads)
    queries, keys = heads * head_width, key_heads * head_width
    tensors: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, width),
        "model.norm.weight": (width,),
    }
    if not config.get("tie_word_embeddings", False):
        tensors["lm_head.weight"] = (vocabulary, width)
    for layer in range(layers):
        of_layer: dict[str, tuple[int, ...]] = {
            "input_layernorm.weight": (width,),
            "post_attention_layernorm.weight": (width,),
            "self_attn.q_proj.weight": (queries, width),
            "self_attn.q_proj.bias": (queries,),
            "self_attn.k_proj.weight": (keys, width),
            "self_attn.k_proj.bias": (keys,),
            "self_attn.v_proj.weight": (keys, width),
            "self_attn.v_proj.bias": (keys,),
            "self_attn.o_proj.weight": (width, queries),
            "mlp.gate_proj.weight": (inner, width),
            "mlp.up_proj.weight": (inner, width),
            "mlp.down_proj.weight": (width, inner),
        }
        tensors |= {f"model.layers.{layer}.{name}": shape for name, shape in of_layer.items()}
    for module in range(modules):
        tensors[f"mtp_projs.{module}.weight"] = (width, 2 * width)
        tensors[f"mtp_embed_norms.{module}.weight"] = (width,)
        tensors[f"mtp_hidden_norms.{module}.weight"] = (width,)
    return tensors


def with_modules(config: Mapping[str, Any], modules: int) -> dict[str, Any]:
    """The configuration of the same checkpoint with its first ``modules`` MCTP modules only."""
    fewer = modules_of(config) - modules
    assert fewer >= 0, (fewer, modules)
    layers = int(config["num_hidden_layers"]) - fewer
    return {**config, "num_hidden_layers": layers, "num_nextn_predict_layers": modules}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
