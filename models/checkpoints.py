"""Checkpoints on disk: ``config.json`` and safetensors under upstream's names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from models.config import MctpConfig
from models.errors import CheckpointError as CheckpointError
from models.errors import ModelError
from models.mctp import MctpForCausalLM
from models.published import unsupported
from models.quiet import quiet_transformers

# Keys that describe the file rather than the model, or that follow from others: not to be carried over.
_NOT_CARRIED = ("architectures", "auto_map", "layer_types", "model_type", "transformers_version")
# Bytes of tensors in one file: what Hugging Face's hub and upstream's own checkpoints have.
MAX_SHARD_BYTES = 5 << 30


def load_model(
    directory: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = torch.float32
) -> MctpForCausalLM:
    """Load a checkpoint, ours or upstream's, in evaluation mode; a plain Qwen2 is one without modules.

    Args:
        directory: holds ``config.json`` and one or several ``.safetensors`` files.
        device: where the model goes.
        dtype: of the parameters; ``None`` keeps what is stored.

    Raises:
        CheckpointError: if the directory is no such checkpoint, or tensors are missing, left over or of other shapes.
    """
    config = read_config(directory)
    model, missing = load_weights(directory, config, dtype)
    if missing:
        raise CheckpointError(f"{directory}: {some_of(missing)} missing from its weights")
    model.to(device)
    return model


def save_model(
    model: MctpForCausalLM,
    directory: str | Path,
    state_dict: Mapping[str, Tensor] | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
) -> None:
    """Write ``config.json`` and the weights; whoever needs it atomic gives a temporary directory.

    The weights are ``model.safetensors``, or ``model-00001-of-0000n.safetensors`` with an index where they are more
    than ``max_shard_bytes``.

    Args:
        model: whose configuration is written, and whose weights are.
        directory: made if it is not there.
        state_dict: the weights to write in place of the model's own, under the same names: those of a model of which
            each rank holds a part.
        max_shard_bytes: of the tensors of one file; a larger tensor has one for itself.
    """
    tensors = None if state_dict is None else dict(state_dict)
    if tensors is not None and model.config.tie_word_embeddings:
        tensors.pop(
            "lm_head.weight", None
        )  # gathered, it is a copy of the embedding and no longer the same memory
    with quiet_transformers():
        model.save_pretrained(directory, state_dict=tensors, max_shard_size=max_shard_bytes)


def read_config(directory: str | Path, modules: int | None = None) -> MctpConfig:
    """The configuration in ``directory``, with the number of MCTP modules set to ``modules`` if given.

    Raises:
        CheckpointError: if it is missing or unreadable, or neither a Qwen2 nor an MCTP configuration.
    """
    path = Path(directory) / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{directory} holds no checkpoint: it has no config.json")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} holds {values!r:.80}, not an object with a configuration's keys")
    if fault := unsupported(values):
        raise CheckpointError(f"{path}: {fault}")
    present = values.get("num_nextn_predict_layers", 0)
    if modules is not None:
        values["num_hidden_layers"] += modules - present
        values["num_nextn_predict_layers"] = modules
    try:
        return MctpConfig(**{key: value for key, value in values.items() if key not in _NOT_CARRIED})
    except ModelError as error:
        raise CheckpointError(f"{path}: {error}") from error


def load_weights(
    directory: str | Path, config: MctpConfig, dtype: torch.dtype | None
) -> tuple[MctpForCausalLM, set[str]]:
    """Fill a model of ``config`` from the weights in ``directory``.

    Returns:
        The model, and the names of parameters for which the directory has no tensor.

    Raises:
        CheckpointError: for tensors that the model has no place for, or of another shape.
    """
    try:
        with quiet_transformers():  # what its report would say is raised or filled in
            model, report = MctpForCausalLM.from_pretrained(
                directory,
                config=config,
                dtype="auto" if dtype is None else dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are in the report, and refused below with both shapes
                local_files_only=True,
            )
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{directory}: its weights cannot be read: {error}") from error
    if report["unexpected_keys"]:
        raise CheckpointError(
            f"{directory}: no place for {some_of(report['unexpected_keys'])} in {config.model_type}"
        )
    for name, stored, expected in report["mismatched_keys"]:
        raise CheckpointError(
            f"{directory}: {name} has shape {tuple(stored)}, but its config.json says {tuple(expected)}"
        )
    return model, set(report["missing_keys"])


def some_of(names: set[str], limit: int = 3) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(sorted(names)[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
