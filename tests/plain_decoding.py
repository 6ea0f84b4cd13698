"""What decoding should find, with everything computed anew for every token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models.packed_attention import attention_arguments
from models.packing import segments_of


def logits_of(model: Any, tokens: list[int], level: int) -> Tensor:
    """What the backbone (level 0) or module ``level - 1`` says of the next token, everything computed anew."""
    ids_1T = torch.tensor([tokens])
    positions_1T = torch.arange(len(tokens))[None]
    attention = attention_arguments(segments_of(positions_1T), "sdpa", torch.float32)
    with torch.no_grad():
        embeddings = model.model.embed_tokens(ids_1T)
        attention["position_embeddings"] = model.model.rotary_emb(embeddings, positions_1T)
        state = embeddings
        for layer in model.model.layers[: model.config.backbone_layers]:
            state = layer(state, **attention)
        state = model.model.norm(state)
        for index in range(level):
            state = model._run_module(index, embeddings, state, attention)
        return model.lm_head(state)[0, len(tokens) - 1 - level]
