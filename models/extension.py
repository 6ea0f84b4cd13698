"""What a stage does to the model it starts from: new vocabulary, new MCTP modules."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoints import load_weights, read_config, some_of
from models.errors import CheckpointError
from models.mctp import MctpForCausalLM, mctp_parameter_names
from models.quiet import quiet_transformers

# Tensor cores want dimensions in multiples of eight.
VOCABULARY_MULTIPLE = 8


def extend_model(
    source_dir: str | Path,
    modules: int,
    vocabulary_size: int | None = None,
    seed: int = 0,
    dtype: torch.dtype | None = None,
    text_vocabulary: int | None = None,
) -> MctpForCausalLM:
    """Load a Qwen2 or MCTP checkpoint with ``modules`` MCTP modules and room for ``vocabulary_size`` tokens.

    A new module is a copy of the one before it. The first module's layer copies the backbone's last one, its norms
    are ones, and its projection takes the sum of the two inputs over sqrt(2), so that the layer starts on vectors of
    the size it was trained on. New embeddings are drawn around the mean of the old ones (Hewitt 2021).

    Args:
        source_dir: directory with ``config.json`` and safetensors.
        modules: how many there are to be, those in the checkpoint included.
        vocabulary_size: tokens needed; embedding and head grow to a multiple of 8, and never shrink.
        seed: of the new embeddings.
        dtype: of the parameters; ``None`` keeps what is stored.
        text_vocabulary: tokens that the checkpoint's own tokenizer has. What its embedding has beyond them is padding
            that was never trained (Qwen2.5-7B: 399 rows), and is drawn anew with the new ones; ``None``: there is none.

    Raises:
        CheckpointError: if the directory is no such checkpoint, its weights are incomplete, or it has more modules
            than asked for.
    """
    present = read_config(source_dir).num_nextn_predict_layers
    if modules < present:
        raise CheckpointError(
            f"{source_dir} has {present} MCTP modules, {modules} were asked for: none are dropped"
        )
    model, missing = load_weights(source_dir, read_config(source_dir, modules), dtype)
    fresh = {name for name in mctp_parameter_names(model) if _module_of(name, model) >= present}
    if lost := missing - fresh:
        raise CheckpointError(f"{source_dir}: {some_of(lost)} missing from its weights")
    for index in range(present, modules):
        _start_module(model, index)
    rows = model.config.vocab_size
    trained = rows if text_vocabulary is None else min(rows, text_vocabulary)
    if vocabulary_size is not None and vocabulary_size > trained:
        with torch.random.fork_rng(devices=[]), quiet_transformers():
            torch.manual_seed(seed)
            # Without the padding first: neither do its rows stay, nor do they count in the old ones' mean.
            model.resize_token_embeddings(trained)
            model.resize_token_embeddings(max(rows, vocabulary_size), pad_to_multiple_of=VOCABULARY_MULTIPLE)
    return model


def _module_of(name: str, model: MctpForCausalLM) -> int:
    parts = name.split(".")
    if parts[0] == "model":
        return int(parts[2]) - int(model.config.backbone_layers)
    return int(parts[1])


@torch.no_grad()
def _start_module(model: MctpForCausalLM, index: int) -> None:
    layers: Any = model.model.layers
    projections: Any = model.mtp_projs
    embed_norms: Any = model.mtp_embed_norms
    hidden_norms: Any = model.mtp_hidden_norms
    place = model.config.backbone_layers + index
    layers[place].load_state_dict(layers[place - 1].state_dict())
    if index == 0:
        _add_inputs(projections[0].weight)
        for norms in (embed_norms, hidden_norms):
            norms[0].weight.fill_(1.0)
        return
    for part in (projections, embed_norms, hidden_norms):
        part[index].load_state_dict(part[index - 1].state_dict())


def _add_inputs(weight_DE: Tensor) -> None:
    """Set a (D, 2D) projection to [I I] / sqrt(2): the sum of two unit vectors, at unit size again."""
    identity = torch.eye(weight_DE.shape[0], dtype=weight_DE.dtype, device=weight_DE.device)
    weight_DE.copy_(torch.cat((identity, identity), dim=1) / math.sqrt(2))
