"""The model of each stage on the meta device: every tensor's shape, and no tensor's memory."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path

import torch

from models import (
    MctpConfig,
    MctpForCausalLM,
    extend_text_tokenizer,
    load_text_tokenizer,
    make_byte_tokenizer,
    mctp_parameter_names,
)
from models.checkpoints import read_config
from models.extension import VOCABULARY_MULTIPLE
from models.text_tokenizers import SPECIAL_TOKENS
from training_jobs.activation_memory import Sizes
from training_jobs.optimizer import parameter_groups
from training_jobs.profile import BaseModelSettings, base_model_directory, check_size
from training_jobs.spec import StageSpec
from training_jobs.trainable import expected_trainable, set_trainable

# Qwen2.5-Instruct, by hidden_size: config.json of the published models, for where they are not there yet.
_PUBLISHED = {
    896: {"intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14, "rows": 151_936},
    1536: {"intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12, "rows": 151_936},
    3584: {"intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28, "rows": 152_064},
}
_KEY_HEADS = {896: 2, 1536: 2, 3584: 4}
_TEXT_TOKENS = 151_665  # of their tokenizer
_UNTIED = (3584,)  # the smaller two have one matrix as embedding and head
# What decides the shapes of a model's tensors, beside the numbers of its layers and modules.
_SHAPING = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "tie_word_embeddings",
)


def base_config(settings: BaseModelSettings, audio_codes: int) -> MctpConfig:
    """Configuration of what stage 1 starts from, its vocabulary extended: as the program ``base_model`` would make it.

    Where the variable of a published model's directory is not set, the published sizes stand in for it.

    Raises:
        ConfigurationError: if the directory is named and not there, or its model has another size than the profile's.
        ModelError: if it holds no Qwen2 or MCTP model, or its tokenizer has other audio tokens.
    """
    if settings.make is not None:
        tokenizer = make_byte_tokenizer()
        known = len(tokenizer)
        tokens = len(extend_text_tokenizer(tokenizer, audio_codes))
        return MctpConfig(
            vocab_size=_rows(known, known, tokens),
            hidden_size=settings.make.hidden_size,
            intermediate_size=settings.make.intermediate_size,
            num_hidden_layers=settings.make.layers,
            num_attention_heads=settings.make.attention_heads,
            num_key_value_heads=settings.make.key_value_heads,
            tie_word_embeddings=False,
        )
    if stands_in_for_published(settings):
        assert settings.hidden_size is not None
        sizes = dict(_PUBLISHED[settings.hidden_size])
        tokens = _TEXT_TOKENS + len(SPECIAL_TOKENS) + audio_codes
        return MctpConfig(
            vocab_size=_rows(sizes.pop("rows"), _TEXT_TOKENS, tokens),
            hidden_size=settings.hidden_size,
            num_key_value_heads=_KEY_HEADS[settings.hidden_size],
            tie_word_embeddings=settings.hidden_size not in _UNTIED,
            **sizes,
        )
    check_size(settings)
    directory = base_model_directory(settings)
    config = read_config(directory)
    tokenizer = load_text_tokenizer(directory)
    known = len(tokenizer)
    config.vocab_size = _rows(config.vocab_size, known, len(extend_text_tokenizer(tokenizer, audio_codes)))
    return config


def stands_in_for_published(settings: BaseModelSettings) -> bool:
    """Whether the profile's model is a published one that nobody has named a directory of."""
    if settings.directory is None or settings.hidden_size not in _PUBLISHED:
        return False
    expanded = os.path.expandvars(settings.directory)
    return "$" in expanded and not Path(expanded).exists()


def stage_model(base: MctpConfig, spec: StageSpec) -> MctpForCausalLM:
    """The stage's model on the meta device, frozen where the stage freezes it."""
    values = base.to_dict()
    modules = max(spec.mctp_modules, base.num_nextn_predict_layers)
    config = MctpConfig(
        **{key: values[key] for key in _SHAPING},
        num_hidden_layers=base.backbone_layers + modules,
        num_nextn_predict_layers=modules,
    )
    with torch.device("meta"):
        model = MctpForCausalLM(config)
    if config.tie_word_embeddings:
        model.tie_weights()
    names = [name for name, _ in model.named_parameters()]
    set_trainable(model, expected_trainable(names, mctp_parameter_names(model), spec))
    return model


def sizes_of(model: MctpForCausalLM, spec: StageSpec) -> Sizes:
    """What the stage's memory depends on, counted from the model's parameters."""
    config, modules = model.config, model.config.num_nextn_predict_layers
    own = mctp_parameter_names(model)
    values = {name: prod(parameter.shape) for name, parameter in model.named_parameters()}
    groups = parameter_groups(model.named_parameters(), set(own), spec)
    head_width = config.hidden_size // config.num_attention_heads
    return Sizes(
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=config.num_attention_heads,
        key_width=config.num_key_value_heads * head_width,
        layers=config.backbone_layers,
        modules=modules,
        vocabulary=config.vocab_size,
        parameters=sum(values.values()),
        per_module=sum(values[name] for name in own) // modules if modules else 0,
        groups=tuple(sum(prod(one.shape) for one in group["params"]) for group in groups),
        largest=max(values.values()),
        largest_trained=max(prod(one.shape) for one in model.parameters() if one.requires_grad),
        is_tied=bool(config.tie_word_embeddings),
        trains_backbone=spec.trainable == "all",
        trains_head=model.lm_head.weight.requires_grad,
    )


def _rows(rows: int, text_tokens: int, tokens: int) -> int:
    """Rows of the embedding once there is room for ``tokens`` (:func:`models.extension.extend_model`)."""
    if tokens <= min(rows, text_tokens):
        return rows
    return -(-max(rows, tokens) // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
